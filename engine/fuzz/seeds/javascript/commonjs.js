const a = require("a");
exports.handler = async (event) => { try { require("b"); } catch {} };
module.exports.other = exports["more"] = 1;
Object.defineProperty(exports, "x", { get() {} });
