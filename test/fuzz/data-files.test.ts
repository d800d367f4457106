/** Damaged data files: rows or an error that names file and place, never anything else. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { DataError } from '../../src/core/errors.ts';
import { createRng } from '../../src/core/rng.ts';
import { openParquet } from '../../src/data/parquet/read-parquet.ts';
import { readRows } from '../../src/data/read-rows.ts';
import { mutate } from '../support/mutate.ts';
import { watchAllocations } from '../support/watch-allocations.ts';

const seeds = fileURLToPath(new URL('../golden/data/files', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'heed-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));

// 20 000 files in all: about 15 s of one core, far more wall time where others use it too.
vi.setConfig({ testTimeout: 300_000 });

const CASES = Number(process.env.HEED_FUZZ_CASES ?? 10_000);

type Outcome = 'rows' | 'refused';

/** Every so often a Parquet file goes through the disk; else its bytes are read from memory. */
const ON_DISK = 20;

async function read(path: string, bytes: Uint8Array, index: number): Promise<void> {
  if (path.endsWith('.parquet') && index % ON_DISK !== 0) {
    const file = await openParquet(path, {
      size: bytes.length,
      read: async (start, end) => bytes.slice(start, end),
      close: async () => {},
    });
    for await (const columns of file.read()) JSON.stringify(columns);
    return;
  }
  writeFileSync(path, bytes);
  for await (const { columns } of readRows(path)) JSON.stringify(columns);
}

async function readDamaged(path: string, bytes: Uint8Array, name: string, index: number): Promise<Outcome> {
  const context = `${name}, case ${index}`;
  try {
    await read(path, bytes, index);
    return 'rows';
  } catch (error) {
    if (!(error instanceof DataError))
      throw new Error(`${context}: ${(error as Error).stack}`, { cause: error });
    if (!error.message.startsWith(path))
      throw new Error(`${context}: the error names no file: ${error.message}`);
    // The footer as a whole, a byte, a line or a row; a file without any row has no place.
    if (!/byte \d|footer|line \d|row \d/.test(error.message) && !/empty data set/.test(error.message)) {
      throw new Error(`${context}: the error names no place: ${error.message}`);
    }
    return 'refused';
  }
}

async function fuzz(name: string, ending: string, cases: number, footer: number) {
  const original = readFileSync(join(seeds, name));
  const rng = createRng(4).split('fuzz').split(name);
  const outcomes: Record<Outcome, number> = { rows: 0, refused: 0 };
  const path = join(folder, `damaged${ending}`);
  const watch = watchAllocations();
  try {
    for (let index = 0; index < cases; index++) {
      // Every second file is damaged in its footer, where the sizes are.
      const bytes = mutate(
        original,
        rng,
        index,
        index % 2 === 0 || footer === 0 ? 0 : original.length - footer,
      );
      watch.largest();
      const { user: started } = process.cpuUsage();
      outcomes[await readDamaged(path, bytes, name, index)]++;
      const largest = watch.largest();
      if (largest > 2 * bytes.length) {
        throw new Error(
          `${name}, case ${index}: ${largest} bytes asked for at once, file of ${bytes.length}`,
        );
      }
      // Of this process, so that a busy machine is no hang.
      const seconds = (process.cpuUsage().user - started) / 1e6;
      if (seconds > 2) throw new Error(`${name}, case ${index}: ${seconds} s`);
    }
  } finally {
    watch.restore();
  }
  return outcomes;
}

describe('damaged files', () => {
  it.each(['small-snappy.parquet', 'small-zstd.parquet'])('%s', async (name) => {
    const original = readFileSync(join(seeds, name));
    const footer = original.readUInt32LE(original.length - 8) + 8;
    const { rows, refused } = await fuzz(name, '.parquet', CASES / 2, footer);
    // Both happen: a changed letter is still a file, a changed size is not.
    expect(rows).toBeGreaterThan(CASES / 100);
    expect(refused).toBeGreaterThan(CASES / 5);
  });

  it('rows of JSON Lines', async () => {
    const { rows, refused } = await fuzz('small.jsonl', '.jsonl', CASES, 0);
    expect(rows).toBeGreaterThan(CASES / 100);
    expect(refused).toBeGreaterThan(CASES / 5);
  });
});
