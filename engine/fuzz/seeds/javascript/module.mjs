import fs, { a as b } from "fs";
export const { c, d: [e], ...f } = {};
export default class {}
export * from "g";
export { b as "string name" };
await 1;
