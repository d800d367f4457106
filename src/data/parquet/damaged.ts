/** Errors of damaged Parquet files, with the place they are found at. */
import { DataError } from '../../core/errors.ts';
import { FileClaimError } from './thrift.ts';

/** Runs a decoder; what it throws becomes an error that names the place. */
export function named<T>(place: string, start: number | undefined, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof DataError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    const inner = cause instanceof FileClaimError ? cause.offset : 0;
    throw damaged(place, start === undefined ? undefined : start + inner, message, cause);
  }
}

export function damaged(
  place: string,
  byte: number | undefined,
  received: string,
  cause?: unknown,
): DataError {
  return new DataError({
    where: byte === undefined ? `${place}, footer` : `${place}, byte ${byte}`,
    expected: 'a Parquet file whose sizes and bytes agree',
    received,
    fix: 'Download or write the file again',
    ...(cause === undefined ? {} : { cause }),
  });
}
