// EventBridge takes at most ten events in one call.
const CALL = 10;

export function* batches<T>(all: T[]): Generator<T[]> {
  for (let start = 0; start < all.length; start += CALL) {
    yield all.slice(start, start + CALL);
  }
}
