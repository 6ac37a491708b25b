export const handler = async (event) => {
  console.log("records:", event.Records.length);
  for (const { eventName, dynamodb } of event.Records) console.log(eventName, JSON.stringify(dynamodb));
};
