const api = module.exports = exports = { handler, async go() {}, get x() { return 1 }, [y]: 2, ...z };
