// `@aws-sdk` is part of Lambda's runtime, but not of the local AWS.
exports.handler = async ({ body }) => {
  const { DynamoDBClient, PutItemCommand } = await import("@aws-sdk/client-dynamodb");
  const Item = { username: { S: JSON.parse(body).username }, timestamp: { S: new Date().toISOString() } };
  await new DynamoDBClient({}).send(new PutItemCommand({ TableName: process.env.TABLE_NAME, Item }));
  return { statusCode: 201 };
};
