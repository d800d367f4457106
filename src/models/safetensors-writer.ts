/** Weights to safetensors files, whole or in shards. */
import { join } from 'node:path';
import { ShapeError } from '../core/errors.ts';
import { formatShape, type Shape, sizeOf } from '../core/shapes.ts';
import { writeAtomically, writeFully } from './file-bytes.ts';
import { encodeBFloat16, encodeFloat16 } from './float16.ts';
import { elementBytes } from './safetensors-header.ts';

/** Elements rounded at a time: what a write needs beyond the weights is 2 MiB. */
const CHUNK_ELEMENTS = 1 << 20;

/** Element types that can be written. */
export type WritableType = 'F32' | 'F16' | 'BF16';

export interface TensorToWrite {
  readonly name: string;
  readonly shape: Shape;
  readonly data: Float32Array;
}

export interface WriteOptions {
  /** Stored element type, default F32. F16 and BF16 round to nearest, ties to even. */
  readonly dtype?: WritableType;
  /** `__metadata__`; `{ format: 'pt' }` by default, which transformers asks for. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Hears of each tensor that was written: how many numbers it has. */
  readonly onTensor?: (count: number) => void;
}

/**
 * Writes one file, tensors in the order given, under a temporary name, then renames it: a reader sees the old file or
 * the new, never half.
 *
 * @throws ShapeError when data do not fit their shape or a name comes twice.
 * @throws CheckpointError when the file cannot be written.
 */
export function writeSafetensors(
  file: string,
  tensors: readonly TensorToWrite[],
  { dtype = 'F32', metadata = { format: 'pt' }, onTensor }: WriteOptions = {},
): void {
  const entries = new Map<string, unknown>([['__metadata__', metadata]]);
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    if (entries.has(name) || data.length !== sizeOf(shape)) {
      throw new ShapeError({
        where: `writeSafetensors(${name})`,
        expected: `a new name and ${sizeOf(shape)} elements for shape ${formatShape(shape)}`,
        received: entries.has(name) ? 'a name that is taken' : `${data.length} elements`,
        fix: 'Pass each tensor once, with its shape',
      });
    }
    const end = offset + data.length * elementBytes(dtype);
    entries.set(name, { dtype, shape, data_offsets: [offset, end] });
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  // Spaces after the JSON put the data on a multiple of 8 bytes, as other writers do.
  const length = Math.ceil(json.length / 8) * 8;
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  writeAtomically(file, (descriptor) => {
    writeFully(descriptor, header);
    for (const { data } of tensors) {
      writeTensor(descriptor, data, dtype);
      onTensor?.(data.length);
    }
  });
}

function writeTensor(descriptor: number, data: Float32Array, dtype: WritableType): void {
  if (dtype === 'F32') {
    writeFully(descriptor, data);
    return;
  }
  const encode = dtype === 'F16' ? encodeFloat16 : encodeBFloat16;
  const staging = new Uint16Array(Math.min(data.length, CHUNK_ELEMENTS));
  for (let done = 0; done < data.length; done += CHUNK_ELEMENTS) {
    const piece = data.subarray(done, done + CHUNK_ELEMENTS);
    const bits = staging.subarray(0, piece.length);
    encode(piece, bits);
    writeFully(descriptor, bits);
  }
}

/**
 * Writes `model.safetensors`, or shards `model-00001-of-0000N.safetensors` with `model.safetensors.index.json` where the
 * data exceed `maxShardBytes` (default 2 GB). A tensor is never divided.
 *
 * @returns names of the files written, the index last.
 * @throws ShapeError and CheckpointError as `writeSafetensors`.
 */
export function writeModelWeights(
  folder: string,
  tensors: readonly TensorToWrite[],
  { maxShardBytes = 2e9, ...options }: WriteOptions & { readonly maxShardBytes?: number } = {},
): string[] {
  const width = elementBytes(options.dtype ?? 'F32');
  const shards: TensorToWrite[][] = [[]];
  let filled = 0;
  let total = 0;
  for (const tensor of tensors) {
    const bytes = tensor.data.length * width;
    if (filled > 0 && filled + bytes > maxShardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(tensor);
    filled += bytes;
    total += bytes;
  }
  if (shards.length === 1) {
    writeSafetensors(join(folder, 'model.safetensors'), tensors, options);
    return ['model.safetensors'];
  }
  const digits = (n: number): string => String(n).padStart(5, '0');
  const shardOf = new Map<string, string>();
  const files: string[] = [];
  for (const [index, shard] of shards.entries()) {
    const file = `model-${digits(index + 1)}-of-${digits(shards.length)}.safetensors`;
    for (const { name } of shard) shardOf.set(name, file);
    writeSafetensors(join(folder, file), shard, options);
    files.push(file);
  }
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(shardOf) };
  const text = new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`);
  writeAtomically(join(folder, 'model.safetensors.index.json'), (descriptor) => writeFully(descriptor, text));
  return [...files, 'model.safetensors.index.json'];
}
