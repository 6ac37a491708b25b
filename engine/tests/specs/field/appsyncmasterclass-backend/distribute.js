// What a tweet or a new follower changes in the timelines: the rows to put and to delete, by the kind of change.
const rows = ({ Records }, idOf) => {
  const puts = Records.filter(({ eventName }) => eventName === "INSERT").map(({ dynamodb }) => idOf(dynamodb.NewImage));
  const deletes = Records.filter(({ eventName }) => eventName === "REMOVE").map(({ dynamodb }) => idOf(dynamodb.OldImage));
  return { puts, deletes };
};

exports.tweets = async (event) => rows(event, (image) => image.id?.S);
exports.toFollower = async (event) => rows(event, (image) => image.otherUserId?.S);
