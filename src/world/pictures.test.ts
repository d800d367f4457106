import { inflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { drawPicture, renderScene } from './pictures.ts';
import { crc32, encodePng } from './png.ts';
import { createWorld } from './world.ts';

const world = createWorld({ seed: 0 });

it('checks sums as PNG does: "123456789" gives CBF43926', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
});

it('writes a PNG whose header, checksums and pixels come back', () => {
  const pixels = Uint8Array.from({ length: 2 * 3 * 3 }, (_, at) => at * 9);
  const png = encodePng(pixels, 3, 2);
  const view = new DataView(png.buffer);
  expect([view.getUint32(16), view.getUint32(20), png[24], png[25]]).toEqual([3, 2, 8, 2]);
  const length = view.getUint32(33);
  expect(String.fromCharCode(...png.subarray(37, 41))).toBe('IDAT');
  expect(view.getUint32(41 + length)).toBe(crc32(png.subarray(37, 41 + length)));
  const lines = inflateSync(png.subarray(41, 41 + length));
  expect([...lines.subarray(0, 10)]).toEqual([0, ...pixels.subarray(0, 9)]);
  expect([...lines.subarray(10)]).toEqual([0, ...pixels.subarray(9)]);
});

it('draws a figure in its cell and nowhere else', () => {
  const pixels = renderScene([{ shape: 'square', color: 'red', row: 1, column: 2 }]);
  const colored = Array.from({ length: 900 }, (_, at) => at).filter((at) => pixels[at * 3 + 1] !== 255);
  // 8 × 8 of the 10 × 10 pixels of its cell.
  expect(colored.length).toBe(64);
  for (const at of colored) {
    expect([Math.floor(at / 30 / 10), Math.floor((at % 30) / 10)]).toEqual([1, 2]);
    expect([...pixels.subarray(at * 3, at * 3 + 3)]).toEqual([220, 40, 40]);
  }
});

it('asks what the scene answers, in each of the three kinds', () => {
  const seen = new Set<string>();
  for (let index = 0; index < 200; index++) {
    const { prompt, completion, scene } = drawPicture(world, 'train', index).row;
    const shape = /circle|square|triangle/.exec(prompt)![0];
    const found = scene.filter((figure) => figure.shape === shape);
    if (prompt.includes('How many')) {
      expect(completion).toBe(found.length === 1 ? ' There is 1.' : ` There are ${found.length}.`);
      seen.add('count');
    } else {
      expect(found.length).toBe(1);
      const place = ['on the left', 'in the middle', 'on the right'][found[0]!.column];
      expect(completion).toBe(` The ${shape} is ${prompt.includes('color') ? found[0]!.color : place}.`);
      seen.add(prompt.includes('color') ? 'color' : 'place');
    }
  }
  expect(seen.size).toBe(3);
});
