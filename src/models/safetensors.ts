/**
 * Weights from safetensors files: one file, or the shards of an index.
 *
 * Numbers go from the file into float32 memory in pieces, so that loading needs little more memory than the weights.
 * Hosts are little endian, as the format is.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError } from '../core/errors.ts';
import { formatShape, sizeOf } from '../core/shapes.ts';
import { readFully, reasonOf, withFile } from './file-bytes.ts';
import { decodeBFloat16, decodeFloat16 } from './float16.ts';
import {
  elementBytes,
  isRecord,
  kindOf,
  readHeader,
  type StoredDType,
  type StoredTensor,
} from './safetensors-header.ts';

export { readHeader, readMetadata, type StoredDType, type StoredTensor } from './safetensors-header.ts';
export * from './safetensors-writer.ts';

/** Elements converted at a time: what a read needs beyond the weights is at most 8 MiB. */
const CHUNK_ELEMENTS = 1 << 20;

/**
 * Reads one tensor into `out` as float32. F16, BF16 and integers up to 2^24 are exact; F64 and larger integers are
 * rounded; BOOL gives 0 and 1.
 *
 * @param out memory of exactly the tensor's size
 * @throws CheckpointError when the sizes differ, the file ends early, or the dtype (F8) has no plain float32 numbers.
 */
export function readTensor(tensor: StoredTensor, out: Float32Array): void {
  const { file, name, dtype, shape, start } = tensor;
  const where = `${file} (tensor ${JSON.stringify(name)})`;
  const size = sizeOf(shape);
  if (out.length !== size) {
    throw new CheckpointError({
      where,
      expected: `${out.length} elements`,
      received: `${size} elements, shape ${formatShape(shape)}`,
      fix: 'Check that config.json belongs to these weights',
    });
  }
  withFile(file, (descriptor) => {
    if (dtype === 'F32') {
      readFully(descriptor, out, start, where);
      return;
    }
    const width = elementBytes(dtype);
    const staging = new ArrayBuffer(Math.min(size, CHUNK_ELEMENTS) * width);
    for (let done = 0; done < size; done += CHUNK_ELEMENTS) {
      const count = Math.min(CHUNK_ELEMENTS, size - done);
      readFully(descriptor, new Uint8Array(staging, 0, count * width), start + done * width, where);
      decode(dtype, staging, out.subarray(done, done + count), where);
    }
  });
}

/** Arrays whose elements are numbers as they are in the file. */
const NUMBER_ARRAYS = {
  F32: Float32Array,
  F64: Float64Array,
  I8: Int8Array,
  U8: Uint8Array,
  I16: Int16Array,
  U16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
} as const;

/** Converts the first `target.length` elements of `source`. */
function decode(dtype: StoredDType, source: ArrayBuffer, target: Float32Array, where: string): void {
  const count = target.length;
  switch (dtype) {
    case 'F16':
      decodeFloat16(new Uint16Array(source, 0, count), target);
      break;
    case 'BF16':
      decodeBFloat16(new Uint16Array(source, 0, count), target);
      break;
    case 'I64':
      for (const [index, x] of new BigInt64Array(source, 0, count).entries()) target[index] = Number(x);
      break;
    case 'U64':
      for (const [index, x] of new BigUint64Array(source, 0, count).entries()) target[index] = Number(x);
      break;
    case 'BOOL':
      for (const [index, x] of new Uint8Array(source, 0, count).entries()) target[index] = x === 0 ? 0 : 1;
      break;
    case 'F8_E4M3':
    case 'F8_E5M2':
      throw new CheckpointError({
        where,
        expected: 'numbers that can be read as float32',
        received: dtype,
        fix: 'Use a checkpoint in float16, bfloat16 or float32',
      });
    default:
      target.set(new NUMBER_ARRAYS[dtype](source, 0, count));
  }
}

/**
 * The tensors of a folder by name, in the order of the files and of the bytes in each: `model.safetensors`, or the
 * shards that `model.safetensors.index.json` lists.
 *
 * @throws CheckpointError when neither is there, a file is corrupt, or index and files do not belong together.
 */
export function readFolderHeader(folder: string): Map<string, StoredTensor> {
  const single = join(folder, 'model.safetensors');
  const index = join(folder, 'model.safetensors.index.json');
  if (existsSync(single)) return readHeader(single);
  if (!existsSync(index)) {
    throw new CheckpointError({
      where: folder,
      expected: 'model.safetensors or model.safetensors.index.json',
      received: 'neither',
      fix: 'Name a Hugging Face model folder with safetensors weights (pickle files are not read)',
    });
  }
  const shardOf = readIndex(index);
  const tensors = new Map<string, StoredTensor>();
  for (const shard of [...new Set(shardOf.values())].sort()) {
    for (const [name, tensor] of readHeader(join(folder, shard))) {
      if (shardOf.get(name) === shard) tensors.set(name, tensor);
    }
  }
  for (const [name, shard] of shardOf) {
    if (!tensors.has(name)) {
      throw new CheckpointError({
        where: index,
        expected: `tensor ${JSON.stringify(name)} in ${shard}`,
        received: 'a file without it',
        fix: 'Index and files do not belong together; copy or download them again',
      });
    }
  }
  return tensors;
}

/** File name per tensor of an index. */
function readIndex(file: string): Map<string, string> {
  const bad = (where: string, expected: string, received: string, cause?: unknown): CheckpointError =>
    new CheckpointError({ where, expected, received, fix: 'Copy or download the index again', cause });
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw bad(file, 'valid JSON', reasonOf(cause), cause);
  }
  const map = isRecord(json) ? json.weight_map : undefined;
  if (!isRecord(map)) throw bad(file, 'an object with weight_map', kindOf(map));
  const shardOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    // A file elsewhere is never meant, and a crafted index must not reach outside the folder.
    if (typeof shard !== 'string' || /[\\/]/.test(shard) || /^\.{0,2}$/.test(shard)) {
      const received = JSON.stringify(shard);
      throw bad(`${file} (weight_map of ${JSON.stringify(name)})`, 'the name of a file beside it', received);
    }
    shardOf.set(name, shard);
  }
  return shardOf;
}
