const fs = require("node:fs");
export const handler = async () => fs;
