// Logs each change of the table as one readable line per record.
exports.handler = async (event) => {
  for (const { eventName, dynamodb } of event.Records) {
    const { Keys, OldImage, NewImage } = dynamodb;
    const parts = [`keys ${show(Keys)}`];
    if (OldImage) parts.push(`old ${show(OldImage)}`);
    if (NewImage) parts.push(`new ${show(NewImage)}`);
    console.log(`${eventName} ${parts.join(" | ")}`);
  }
};

// { id: { S: "7" }, done: { BOOL: true } } as {"id":"7","done":true}
const show = (image) => JSON.stringify(plain({ M: image }));

// Converts DynamoDB's typed values to plain ones. Numbers stay text, because JavaScript numbers have fewer digits.
const plain = (value) => {
  const [[type, inside]] = Object.entries(value);
  switch (type) {
    case "M":
      return Object.fromEntries(Object.entries(inside ?? {}).map(([key, item]) => [key, plain(item)]));
    case "L":
      return inside.map(plain);
    case "NULL":
      return null;
    default:
      return inside;
  }
};
