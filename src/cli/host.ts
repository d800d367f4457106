/** The process as the commands see it: the only file that touches signals, timers and the clock. */
import type { TextStream } from './colors.ts';

export interface Host {
  readonly stdout: TextStream;
  readonly stderr: TextStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly every: (ms: number, tick: () => void) => () => void;
  /** Resident memory of the process, bytes. */
  readonly memory: () => number;
  readonly onSignal: (handler: () => void) => () => void;
  readonly exit: (code: number) => void;
}

export function processHost(version: string): Host {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    version,
    clock: () => performance.now(),
    now: () => Date.now(),
    every: (ms, tick) => {
      const timer = setInterval(tick, ms);
      // A progress line alone must not keep the process alive.
      timer.unref();
      return () => clearInterval(timer);
    },
    memory: () => process.memoryUsage.rss(),
    onSignal: (handler) => {
      process.on('SIGINT', handler);
      process.on('SIGTERM', handler);
      return () => {
        process.off('SIGINT', handler);
        process.off('SIGTERM', handler);
      };
    },
    exit: (code) => process.exit(code),
  };
}
