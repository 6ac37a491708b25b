// EventBridge takes at most ten events in one call.
const CALL = 10;

exports.handler = async ({ Records }) => {
  const events = Records.map(({ dynamodb }) => ({
    Source: "field.items",
    DetailType: "inserted",
    Detail: JSON.stringify(dynamodb.NewImage),
    EventBusName: process.env.BUS_NAME,
  }));
  console.log("to send:", JSON.stringify(events));
  // Part of Lambda's runtime, but not of the local AWS.
  const { EventBridgeClient, PutEventsCommand } = await import("@aws-sdk/client-eventbridge");
  const client = new EventBridgeClient({});
  for (let start = 0; start < events.length; start += CALL) {
    await client.send(new PutEventsCommand({ Entries: events.slice(start, start + CALL) }));
  }
};
