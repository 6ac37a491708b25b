exports.handler = async ({ Records }) => {
  for (const { dynamodb } of Records) console.log("processing", JSON.stringify(dynamodb));
  return { batchItemFailures: [] };
};
