// Only new items notify anybody.
exports.handler = async ({ Records }) =>
  Records.filter(({ eventName }) => eventName === "INSERT").map(({ dynamodb }) => ({ of: dynamodb.Keys }));
