import { expect, it } from 'vitest';
import { fromExactJson, toExactJson } from './exact-json.ts';

it('gives back the same numbers, bit for bit', () => {
  const value = {
    plain: [0.1 + 0.2, 1e-320, 5e300, null, true, 'text'],
    odd: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0],
    floats: Float32Array.of(0.1, Number.NaN, -0, 1e-40),
    // A view that does not begin at the start of its buffer.
    part: Float64Array.of(9, 0.1, -1 / 3).subarray(1),
    ids: Int32Array.of(-1, 7),
    big: BigInt64Array.of(-(2n ** 62n)),
    nested: { deep: [{ mask: Uint8Array.of(1, 0) }] },
  };
  const back = fromExactJson(toExactJson({ ...value, left: undefined })) as typeof value;
  expect(back).toEqual(value);
  expect(Object.is(back.odd[3], -0)).toBe(true);
  expect(Buffer.from(back.floats.buffer)).toEqual(Buffer.from(value.floats.buffer));
});

it('names the place of what it cannot keep', () => {
  expect(() => toExactJson({ a: [{ b: new Map() }] })).toThrow(/toExactJson\(\.a\[0\]\.b\).*received Map/);
  expect(() => fromExactJson('{"$exact":"Float99"}')).toThrow(/expected text that toExactJson wrote/);
});
