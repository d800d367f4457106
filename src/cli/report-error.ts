/** An error as its reader needs it, and as an exit code. */
import {
  CheckpointError,
  ConfigError,
  DataError,
  HeedError,
  NumericError,
  ShapeError,
} from '../core/errors.ts';
import type { Colors, TextStream } from './colors.ts';
import type { ExitCode } from './command.ts';

/**
 * What a user can put right by changing the command line or the input. A learning rate that ends in NaN is one of them, and
 * so is a model file whose tensors have the wrong shape.
 */
const INPUT_ERRORS = [ConfigError, DataError, CheckpointError, ShapeError, NumericError];

/** Codes of the operating system for a path that cannot be read or written as asked. */
const PATH_CODES: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EISDIR: 'a folder, not a file',
  ENOTDIR: 'a file, not a folder',
};

export function exitCodeOf(error: unknown): ExitCode {
  return INPUT_ERRORS.some((type) => error instanceof type) || pathProblem(error) !== undefined ? 2 : 1;
}

export interface ReportOptions {
  readonly stream: TextStream;
  readonly json: boolean;
  readonly debug: boolean;
  readonly colors: Colors;
}

/** Writes one message. The stack comes with `debug` only; an error that heed did not throw on purpose says how to get it. */
export function reportError(error: unknown, { stream, json, debug, colors }: ReportOptions): void {
  const problem = error instanceof Error ? error : new Error(String(error));
  const message = pathProblem(error) ?? problem.message;
  if (json) {
    const fields =
      problem instanceof HeedError
        ? { where: problem.where, expected: problem.expected, received: problem.received, fix: problem.fix }
        : {};
    const stack = debug ? { stack: problem.stack } : {};
    stream.write(
      `${JSON.stringify({ event: 'error', error: problem.name, message, ...fields, ...stack })}\n`,
    );
    return;
  }
  stream.write(`${colors.red('error')} ${message}\n`);
  if (debug) {
    for (let cause: unknown = problem; cause instanceof Error; cause = cause.cause) {
      stream.write(
        `${colors.dim(`${cause === problem ? '' : 'caused by '}${cause.stack ?? cause.message}`)}\n`,
      );
    }
  } else if (exitCodeOf(error) === 1 && !(error instanceof HeedError)) {
    stream.write(colors.dim('This is probably a mistake in heed. --debug shows where it happened.\n'));
  }
}

/** A sentence for an error of the operating system about a path; undefined for all others. */
function pathProblem(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('path' in error)) return undefined;
  const reason = PATH_CODES[String(error.code)];
  return reason === undefined ? undefined : `${String(error.path)}: ${reason}`;
}
