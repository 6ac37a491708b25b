"use strict";

exports.handler = async (event) => {
  event.Records.forEach(({ eventName, dynamodb }) => console.log(eventName, JSON.stringify(dynamodb)));
};
