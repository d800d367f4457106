/** What a command is, and what it is given. */
import type { ConfigOf, ConfigSchema } from '../core/config.ts';
import type { Output } from './output.ts';
import type { Progress } from './progress.ts';

/** 0 done, 1 failed, 2 bad usage or bad input, 130 interrupted and saved. */
export type ExitCode = 0 | 1 | 2 | 130;

export interface CommandModule<S extends ConfigSchema = ConfigSchema> {
  /** Its YAML file, flags, environment variables, types and help. */
  readonly config: S;
  /** Keys of `config` that may also be given without a flag, in this order. */
  readonly positionals?: readonly string[];
  /** Flags that are no configuration, by name in camelCase, with their description: `dryRun`, for example. */
  readonly switches?: Readonly<Record<string, string>>;
  /** Command lines for the end of its help, without `heed`. */
  readonly examples?: readonly string[];
  run(config: ConfigOf<S>, context: CommandContext): Promise<ExitCode>;
}

export interface CommandContext {
  /** Results, to stdout. */
  readonly output: Output;
  /** What is going on, to stderr. */
  readonly progress: Progress;
  /** Names of the switches that were given. */
  readonly switches: ReadonlySet<string>;
  /** The resolved configuration as YAML with the source of each key: for the run's folder. */
  readonly configText: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** Milliseconds since some moment, never going back. */
  readonly clock: () => number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Calls back every `ms` until the returned function is called; does not keep the process alive. */
  readonly every: (ms: number, tick: () => void) => () => void;
  /** Resident memory of the process, bytes. */
  readonly memory: () => number;
  /**
   * From now on the first Ctrl-C (or SIGTERM) aborts the signal instead of ending the process: the command saves, stops and
   * returns 130. The second ends the process at once. `message` tells the user what the first does.
   */
  interruptible(message?: string): AbortSignal;
}

/** Types a command from its schema; returns it unchanged. */
export function defineCommand<S extends ConfigSchema>(command: CommandModule<S>): CommandModule<S> {
  return command;
}
