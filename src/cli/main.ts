#!/usr/bin/env node
/** The `heed` program. Help and version are answered from the list of commands alone; all else loads what it needs. */
import { readFileSync } from 'node:fs';
import { commands } from './commands.ts';
import { programHelp } from './program-help.ts';

const argv = process.argv.slice(2);
const [first] = argv;

/** Writes after which the process may end are flushed by letting it end by itself. */
function print(text: string, code: number): void {
  (code === 0 ? process.stdout : process.stderr).write(text);
  process.exitCode = code;
}

const version = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string })
    .version;

// `heed bench | head` closes the pipe early: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

if (first === undefined) print(programHelp(commands, version()), 2);
else if (argv.length === 1 && (first === '--help' || first === '-h' || first === 'help')) {
  print(programHelp(commands, version()), 0);
} else if (argv.length === 1 && (first === '--version' || first === '-v')) print(`${version()}\n`, 0);
else {
  const { runProgram } = await import('./run-program.ts');
  const { processHost } = await import('./host.ts');
  process.exitCode = await runProgram(argv, commands, processHost(version()));
}
