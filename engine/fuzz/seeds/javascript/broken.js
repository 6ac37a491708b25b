exports.handler = async (event => {
  `${`${`
