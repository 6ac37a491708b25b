export const handler = async ({ Records }) => {
  console.log(`processing ${Records.length}`);
  for (const { dynamodb } of Records) console.log(JSON.stringify(dynamodb));
};
