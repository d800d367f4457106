/** Small rendered scenes of shapes, with questions about them: for methods that look at pictures. */
import { drawAt } from './draw.ts';
import { encodePng } from './png.ts';
import type { World } from './world.ts';

export const shapes = ['circle', 'square', 'triangle'] as const;
export type Shape = (typeof shapes)[number];

/** Red, green and blue, 0–255. */
export const sceneColors = {
  red: [220, 40, 40],
  blue: [50, 80, 220],
  green: [40, 160, 70],
  yellow: [240, 200, 40],
  black: [20, 20, 20],
} as const satisfies Readonly<Record<string, readonly [number, number, number]>>;
export type SceneColor = keyof typeof sceneColors;

/** A shape in a cell of the 3 × 3 grid. */
export interface Figure {
  readonly shape: Shape;
  readonly color: SceneColor;
  readonly row: number;
  readonly column: number;
}

export interface PictureRow {
  /** Path from the folder of the file. */
  readonly images: readonly string[];
  readonly prompt: string;
  readonly completion: string;
  readonly scene: readonly Figure[];
}

/** Pixels along a cell. */
const cell = 10;
const side = 3 * cell;

/** Draws two to four figures on white: [30, 30, 3] bytes, row by row. */
export function renderScene(scene: readonly Figure[]): Uint8Array {
  const pixels = new Uint8Array(side * side * 3).fill(255);
  for (const { shape, color, row, column } of scene) {
    for (let y = 0; y < cell; y++) {
      for (let x = 0; x < cell; x++) {
        if (covers(shape, x - (cell - 1) / 2, y - (cell - 1) / 2)) {
          pixels.set(sceneColors[color], ((row * cell + y) * side + column * cell + x) * 3);
        }
      }
    }
  }
  return pixels;
}

/** Whether a shape covers the point at a distance of (x, y) pixels from the middle of its cell. */
function covers(shape: Shape, x: number, y: number): boolean {
  switch (shape) {
    case 'circle':
      return x * x + y * y <= 16;
    case 'square':
      return Math.abs(x) <= 3.5 && Math.abs(y) <= 3.5;
    case 'triangle':
      return y >= -3.5 && y <= 3.5 && Math.abs(x) <= (y + 4) / 2;
  }
}

/** The `index`-th picture of a set: its question with the right answer, and its PNG file. */
export function drawPicture(
  world: World,
  set: string,
  index: number,
): { readonly row: PictureRow; readonly png: Uint8Array } {
  const draw = drawAt(world.rng.split('pictures').split(set), index);
  const colors = Object.keys(sceneColors) as SceneColor[];
  const cells = draw.sample([...Array(9).keys()], 2 + draw.integer(3));
  const scene = cells.map(
    (at): Figure => ({
      shape: draw.pick(shapes),
      color: draw.pick(colors),
      row: Math.floor(at / 3),
      column: at % 3,
    }),
  );
  const [question, answer] = ask(scene, draw.integer(3), draw.integer(3));
  const row = {
    images: [`pictures/${set}-${index}.png`],
    prompt: `User: ${question}\nAssistant:`,
    completion: ` ${answer}`,
    scene,
  };
  return { row, png: encodePng(renderScene(scene), side, side) };
}

/** A question of one of three kinds with its answer: how many, of what color, or on which side. */
function ask(scene: readonly Figure[], kind: number, pick: number): readonly [string, string] {
  const shape = shapes[pick]!;
  const found = scene.filter((figure) => figure.shape === shape);
  const [one] = found;
  if (kind === 0 || one === undefined || found.length > 1) {
    return [
      `How many ${shape}s are there?`,
      found.length === 1 ? 'There is 1.' : `There are ${found.length}.`,
    ];
  }
  if (kind === 1) return [`What color is the ${shape}?`, `The ${shape} is ${one.color}.`];
  const place = ['on the left', 'in the middle', 'on the right'][one.column]!;
  return [`Where is the ${shape}?`, `The ${shape} is ${place}.`];
}
