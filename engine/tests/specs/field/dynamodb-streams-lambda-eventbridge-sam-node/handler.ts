import { batches } from "./batches";

interface StreamEvent {
  Records: { dynamodb: { NewImage?: Record<string, unknown> } }[];
}

export const handler = async ({ Records }: StreamEvent): Promise<void> => {
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
  for (const Entries of batches(events)) {
    await client.send(new PutEventsCommand({ Entries }));
  }
};
