/** `heed world make`: data sets of the testbed world as files. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { field } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import {
  createWorld,
  type DataRow,
  drawPicture,
  makeSet,
  makeShift,
  makeStream,
  type SetName,
  setNames,
  splits,
  type World,
} from '../../world/index.ts';
import { defineCommand } from '../command.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  action: field(z.enum(['make']).default('make')).describe('what to do'),
  output: field(z.string().default('world'), { aliases: ['out'], placeholder: 'folder' }).describe(
    'folder to write; it must not exist yet',
  ),
  rows: field(z.int().min(10).max(1_000_000).default(2000)).describe(
    'training rows of each set; validation, test, shifts and pictures have a tenth of it',
  ),
  seed: field(z.int().min(0).default(0)).describe('seed of the world; same seed, same bytes'),
  sets: field(
    z
      .array(z.enum(setNames))
      .min(1)
      .default([...setNames]),
  ).describe('which sets to write'),
  overwrite: field(z.boolean().default(false)).describe('replace a world that was written there before'),
});

export const command = defineCommand({
  config,
  positionals: ['action'],
  examples: [
    'world make --rows 2000 --output world',
    'world make --sets demonstrations,preferences --seed 1 --out world-1',
  ],
  async run({ output: folder, rows, seed, sets, overwrite }, { output, progress }) {
    checkFolder(folder, overwrite);
    const world = createWorld({ seed });
    const stage = progress.start('world', { unit: 'sets', total: sets.length });
    // Written beside its place and moved there when complete.
    const partial = `${folder}.partial`;
    rmSync(partial, { recursive: true, force: true });
    const counts: Record<string, number> = {};
    const write = (name: string, list: readonly DataRow[]): void => {
      const path = join(partial, `${name}.jsonl`);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, list.map((row) => `${JSON.stringify(row)}\n`).join(''));
      counts[`${name}.jsonl`] = list.length;
    };
    try {
      for (const [done, set] of sets.entries()) {
        writeSet(world, set, rows, write, partial);
        stage.update(done + 1);
      }
      writeFileSync(
        join(partial, 'world.json'),
        `${JSON.stringify({ world: 1, seed, rows, sets, files: counts }, null, 2)}\n`,
      );
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(dirname(folder), { recursive: true });
      renameSync(partial, folder);
    } finally {
      rmSync(partial, { recursive: true, force: true });
      stage.end();
    }
    output.record({ event: 'world', folder, seed, files: counts });
    output.text(
      formatTable([['file', 'rows'], ...Object.entries(counts).map(([name, n]) => [name, String(n)])]),
    );
    output.text('');
    output.text(`a world of ${world.knowledge.factCount} facts, seed ${seed}, in ${folder}`);
    if (sets.includes('demonstrations')) {
      output.text(`Next: heed inspect ${join(folder, 'demonstrations', 'train.jsonl')}`);
    }
    return 0;
  },
});

/** The three usual splits of a set, or the files of the sets that have others. */
function writeSet(
  world: World,
  set: SetName,
  rows: number,
  write: (name: string, rows: readonly DataRow[]) => void,
  folder: string,
): void {
  const few = Math.ceil(rows / 10);
  const counts = { train: rows, validation: few, test: few } as const;
  switch (set) {
    case 'shifts':
      for (const split of splits) {
        if (!(split in counts)) write(`shifts/${split}`, makeShift(world, split, few));
      }
      return;
    case 'stream':
      write('stream', makeStream(world, rows));
      return;
    case 'pictures':
      mkdirSync(join(folder, 'pictures'), { recursive: true });
      for (const split of Object.keys(counts)) {
        const pictures = Array.from({ length: few }, (_, index) => drawPicture(world, split, index));
        for (const { row, png } of pictures) writeFileSync(join(folder, row.images[0]!), png);
        write(
          `pictures-${split}`,
          pictures.map(({ row }) => ({ ...row })),
        );
      }
      return;
    default:
      for (const [split, count] of Object.entries(counts)) {
        write(`${set}/${split}`, makeSet(world, set, { split: split as keyof typeof counts, count }));
      }
  }
}

/** @throws ConfigError when the folder exists and may not be replaced */
function checkFolder(folder: string, overwrite: boolean): void {
  if (!existsSync(folder)) return;
  const names = readdirSync(folder);
  if (names.length === 0) return;
  const isWorld = names.includes('world.json');
  if (overwrite && isWorld) return;
  throw new ConfigError({
    where: '--output',
    expected: overwrite
      ? 'a folder that heed world wrote, to replace it'
      : 'a folder that does not exist yet',
    received: `${folder} with ${names.length} entries${isWorld ? '' : ' and no world.json'}`,
    fix: isWorld ? 'Add --overwrite to replace it, or name another folder' : 'Name another folder',
  });
}
