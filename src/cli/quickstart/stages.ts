/** Stages of a pipeline that can be stopped anywhere and goes on where it was: finished stages leave a record each. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, ConfigError } from '../../core/errors.ts';
import { writeAtomically as writeFileAtomically, writeFully } from '../../models/file-bytes.ts';

/** Thrown to leave a pipeline when the user asked to stop; what was finished stays. */
export class Interrupted extends Error {}

/** What a stage cost. */
export interface StageCost {
  readonly name: string;
  /** Of the run that finished the stage. */
  readonly seconds: number;
  /** Most resident memory seen while it ran, bytes. */
  readonly peakMemoryBytes: number;
}

export interface StagesOptions {
  /** Folder of the records. */
  readonly folder: string;
  /** What a record must have been made with to be used again, as one comparable text. */
  readonly fingerprint: string;
  /** Stages that may run; undefined: all. Others must have a record. */
  readonly only?: readonly string[];
  /** Milliseconds from any origin. */
  readonly clock: () => number;
  /** Resident memory of the process, bytes. */
  readonly memory: () => number;
  /** Calls back every `ms` until the returned function is called. */
  readonly every: (ms: number, tick: () => void) => () => void;
  readonly interrupted: () => boolean;
}

export interface Stages {
  /**
   * The result of `work`, or of the run that finished this stage before. A result is what JSON can hold.
   *
   * @throws Interrupted when the user asked to stop before it began; ConfigError when it may not run and has no record
   */
  run<T>(name: string, work: () => Promise<T>): Promise<T>;
  readonly costs: readonly StageCost[];
}

interface StageFile<T> {
  readonly fingerprint: string;
  readonly cost: StageCost;
  readonly result: T;
}

/** Memory is looked at this often, ms. */
const memoryInterval = 200;

/** Opens the records of a folder; they are written as stages finish. */
export function openStages(options: StagesOptions): Stages {
  const { folder, fingerprint, only, clock, memory, every, interrupted } = options;
  mkdirSync(folder, { recursive: true });
  const costs: StageCost[] = [];
  return {
    costs,
    async run<T>(name: string, work: () => Promise<T>): Promise<T> {
      const path = join(folder, `${name}.json`);
      const earlier = readStage<T>(path);
      if (earlier !== undefined) {
        if (earlier.fingerprint !== fingerprint) {
          throw new ConfigError({
            where: `${folder} (stage ${name})`,
            expected: `the settings it began with, ${earlier.fingerprint}`,
            received: fingerprint,
            fix: 'Use the same settings or another --output; heed quickstart without --resume starts anew',
          });
        }
        costs.push(earlier.cost);
        return earlier.result;
      }
      if (only !== undefined && !only.includes(name)) {
        throw new ConfigError({
          where: '--stages',
          expected: `stage ${name}, which the next ones need`,
          received: `only ${only.join(', ')}`,
          fix: `Add ${name}, or --resume a run that finished it`,
        });
      }
      if (interrupted()) throw new Interrupted();
      const started = clock();
      let peak = memory();
      const look = (): void => {
        peak = Math.max(peak, memory());
      };
      const stop = every(memoryInterval, look);
      try {
        const result = await work();
        look();
        const cost = { name, seconds: (clock() - started) / 1000, peakMemoryBytes: peak };
        costs.push(cost);
        writeAtomically(path, `${JSON.stringify({ fingerprint, cost, result } satisfies StageFile<T>)}\n`);
        return result;
      } finally {
        stop();
      }
    },
  };
}

function readStage<T>(path: string): StageFile<T> | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const file = JSON.parse(readFileSync(path, 'utf8')) as Partial<StageFile<T>>;
    if (typeof file.fingerprint === 'string' && file.cost !== undefined) return file as StageFile<T>;
  } catch (cause) {
    throw broken(path, cause);
  }
  throw broken(path);
}

const broken = (path: string, cause?: unknown): CheckpointError =>
  new CheckpointError({
    where: path,
    expected: 'the record of a finished stage',
    received: 'something else',
    fix: 'Delete the file to run its stage again',
    ...(cause === undefined ? {} : { cause }),
  });

/** Writes text so that a reader never sees half of it, also when the disk is full. */
export function writeAtomically(path: string, text: string): void {
  writeFileAtomically(path, (descriptor) => writeFully(descriptor, Buffer.from(text)));
}
