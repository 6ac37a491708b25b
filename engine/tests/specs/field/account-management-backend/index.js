// Personal data: only how many events came is logged.
exports.handler = async ({ Records }) => {
  console.log("processed events:", Records.length);
};
