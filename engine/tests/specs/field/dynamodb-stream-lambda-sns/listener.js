exports.handler = async ({ Records }) => {
  for (const { eventName, dynamodb } of Records) {
    if (eventName !== "INSERT") continue;
    const Message = `${dynamodb.Keys.username.S} barked`;
    console.log("to publish:", Message);
    const { SNSClient, PublishCommand } = await import("@aws-sdk/client-sns");
    await new SNSClient({}).send(new PublishCommand({ TopicArn: process.env.SNS_TOPIC_ARN, Message }));
  }
};
