/** Reproducers: one file with everything an update depends on, which `heed replay` takes again. */
import { basename, join } from 'node:path';
import { CheckpointError } from '../../core/errors.ts';
import { fromExactJson, toExactJson } from '../../core/exact-json.ts';
import { sizeOf } from '../../core/shapes.ts';
import { readHeader, readMetadata, readTensor, writeSafetensors } from '../../models/safetensors.ts';
import type { UpdateCapture } from './learner-watch.ts';

export interface Reproducer extends UpdateCapture {
  /** Id of the method, and the configuration of the run. */
  readonly method: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Where it was written, such as `linux x64`: bytes agree on the same kind of machine. */
  readonly machine: string;
}

const FORMAT = '1';
const WEIGHTS = 'weights';
const MOMENT = 'moment.';

/** Writes `<folder>/reproducer-<learner>-<optimizer steps>.safetensors`; returns its path. */
export function writeReproducer(
  folder: string,
  { method, config }: Pick<Reproducer, 'method' | 'config'>,
  capture: UpdateCapture,
): string {
  const { weights, optimizer, ...rest } = capture;
  const file = join(folder, `reproducer-${capture.learner}-${optimizer.steps}.safetensors`);
  const vectors = [
    [WEIGHTS, weights] as const,
    ...Object.entries(optimizer.moments).map(([name, vector]) => [MOMENT + name, vector] as const),
  ];
  writeSafetensors(
    file,
    vectors.map(([name, data]) => ({ name, shape: [data.length], data })),
    {
      metadata: {
        format: FORMAT,
        reproducer: toExactJson({ ...rest, ...{ method, config, machine }, steps: optimizer.steps }),
      },
    },
  );
  return file;
}

export const machine = `${process.platform} ${process.arch}`;

/** @throws CheckpointError when the file is no reproducer */
export function readReproducer(file: string): Reproducer {
  const metadata = readMetadata(file);
  if (metadata.reproducer === undefined || metadata.format !== FORMAT) {
    throw new CheckpointError({
      where: file,
      expected: 'a file that a watchdog saved: reproducer-….safetensors in the folder of a run',
      received: `${basename(file)}, which is something else`,
    });
  }
  const { steps, ...rest } = fromExactJson(metadata.reproducer) as Omit<
    Reproducer,
    'weights' | 'optimizer'
  > & {
    steps: number;
  };
  const vectors = new Map(
    [...readHeader(file)].map(([name, tensor]) => {
      const data = new Float32Array(sizeOf(tensor.shape));
      readTensor(tensor, data);
      return [name, data];
    }),
  );
  const moments = Object.fromEntries(
    [...vectors]
      .filter(([name]) => name.startsWith(MOMENT))
      .map(([name, data]) => [name.slice(MOMENT.length), data]),
  );
  return { ...rest, weights: vectors.get(WEIGHTS)!, optimizer: { steps, moments } };
}
