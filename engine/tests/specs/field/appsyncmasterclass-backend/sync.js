// The objects of the search index, without a call to it.
exports.handler = async ({ Records }) =>
  Records.map(({ eventName, dynamodb }) => ({ objectID: dynamodb.Keys.id.S, isDeleted: eventName === "REMOVE" }));
