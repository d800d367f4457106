/** Colors for one stream: a redirected stdout gets none although stderr is a terminal. */
import picocolors from 'picocolors';

export type Colors = ReturnType<typeof picocolors.createColors>;

/** A stream as far as output needs it. */
export interface TextStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** `NO_COLOR` (any text) and `--no-color` win over `FORCE_COLOR`, which wins over what the stream is. */
export function colorsFor(
  stream: TextStream,
  env: Readonly<Record<string, string | undefined>>,
  allowed: boolean,
): Colors {
  const wanted = (env.FORCE_COLOR ?? '') !== '' && env.FORCE_COLOR !== '0';
  const able = stream.isTTY === true && env.TERM !== 'dumb';
  return picocolors.createColors(allowed && (env.NO_COLOR ?? '') === '' && (wanted || able));
}
