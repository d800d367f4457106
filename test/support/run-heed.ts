/** The command line in this process, with its streams caught: quick, and signals can be sent at a chosen moment. */
import { commands } from '../../src/cli/commands.ts';
import { runProgram } from '../../src/cli/run-program.ts';

export interface HeedRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `heed <argv>`. `onStderr` sees each write and may ask for an interrupt, as Ctrl-C would. */
export async function runHeed(
  argv: readonly string[],
  onStderr: (text: string, interrupt: () => void) => void = () => {},
): Promise<HeedRun> {
  let stdout = '';
  let stderr = '';
  const handlers = new Set<() => void>();
  const interrupt = (): void => {
    for (const handler of handlers) handler();
  };
  const code = await runProgram(argv, commands, {
    stdout: {
      write(text: string) {
        stdout += text;
      },
    },
    stderr: {
      write(text: string) {
        stderr += text;
        onStderr(text, interrupt);
      },
    },
    env: {},
    version: '0.0.0-test',
    clock: () => performance.now(),
    now: () => 1_700_000_000_000,
    every: () => () => {},
    memory: () => 0,
    onSignal(handler) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    exit: () => {},
  });
  return { code, stdout, stderr };
}
