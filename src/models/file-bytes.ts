/** Whole ranges of bytes from and to files, and files that appear complete or not at all. */
import { closeSync, existsSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CheckpointError } from '../core/errors.ts';

/** One request to the operating system stays below its limit of 2 GiB. */
const REQUEST_BYTES = 1 << 28;

/**
 * Opens a file for reading, hands its descriptor to `use`, closes it.
 *
 * @throws CheckpointError when the file does not exist or may not be read; errors of `use` pass through.
 */
export function withFile<T>(file: string, use: (descriptor: number) => T): T {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (cause) {
    throw new CheckpointError({
      where: file,
      expected: 'a file that can be read',
      received: reasonOf(cause),
      fix: 'Check the path and its permissions',
      cause,
    });
  }
  try {
    return use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Fills `target` with the file's bytes from `position` on.
 *
 * @param where names the file and tensor in errors.
 * @throws CheckpointError when the file ends before or cannot be read.
 */
export function readFully(
  descriptor: number,
  target: ArrayBufferView,
  position: number,
  where: string,
): void {
  const bytes = bytesOf(target);
  let done = 0;
  while (done < bytes.length) {
    let count: number;
    try {
      count = readSync(
        descriptor,
        bytes,
        done,
        Math.min(REQUEST_BYTES, bytes.length - done),
        position + done,
      );
    } catch (cause) {
      const fix = 'Check the path and the disk';
      throw new CheckpointError({
        where,
        expected: 'a file that can be read',
        received: reasonOf(cause),
        fix,
        cause,
      });
    }
    if (count === 0) {
      throw new CheckpointError({
        where,
        expected: `${bytes.length} bytes at offset ${position}`,
        received: `the end of the file after ${done}`,
        fix: 'The file was cut short; copy or download it again',
      });
    }
    done += count;
  }
}

/** Writes all bytes of `source` at the descriptor's position. */
export function writeFully(descriptor: number, source: ArrayBufferView): void {
  const bytes = bytesOf(source);
  let done = 0;
  while (done < bytes.length) {
    done += writeSync(descriptor, bytes, done, Math.min(REQUEST_BYTES, bytes.length - done));
  }
}

/**
 * Writes a file under a temporary name beside it, flushes it to the disk and renames it: a reader sees the old file or
 * the whole new one. A failure removes the temporary file.
 *
 * @throws CheckpointError when the file cannot be written; errors of `write` pass through.
 */
export function writeAtomically(file: string, write: (descriptor: number) => void): void {
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.partial`);
  try {
    const descriptor = openSync(temporary, 'w');
    try {
      write(descriptor);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporary, file);
  } catch (cause) {
    if (existsSync(temporary)) rmSync(temporary);
    throw isSystemError(cause) ? cannotWrite(file, cause) : cause;
  }
}

/** The error for a place that the system does not let us write. */
export function cannotWrite(where: string, cause: unknown): CheckpointError {
  return new CheckpointError({
    where,
    expected: 'a place that can be written',
    received: reasonOf(cause),
    fix: 'Check the folder, its permissions and the free space',
    cause,
  });
}

/** Whether an error comes from a call of the operating system. */
export function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

/** `ENOENT` and its kind in words where they are common, else the message of the error. */
export function reasonOf(error: unknown): string {
  switch (error instanceof Error && 'code' in error ? error.code : undefined) {
    case 'ENOENT':
      return 'no such file or folder';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EISDIR':
      return 'a folder';
    case 'ENOTDIR':
      return 'a path through something that is not a folder';
    case 'ENOSPC':
      return 'a full disk';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** Bytes of a view, also of one over shared memory. */
function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
