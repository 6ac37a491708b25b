exports.handler = async ({ Records }) => {
  for (const record of Records) console.log(JSON.stringify(record));
};
