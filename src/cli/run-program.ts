/** A command line from its words to its exit code. */
import { readFile } from 'node:fs/promises';
import { type ConfigField, describeConfig } from '../core/config.ts';
import type { ConfigFile } from '../core/config-file.ts';
import { ConfigError } from '../core/errors.ts';
import { formatConfig, withoutSecrets } from '../core/format-config.ts';
import { resolveConfig } from '../core/resolve-config.ts';
import { suggest } from '../core/suggest.ts';
import { colorsFor } from './colors.ts';
import type { CommandModule, ExitCode } from './command.ts';
import { commandHelp, type ParsedArguments, parseArguments } from './command-line.ts';
import type { CommandRecord } from './commands.ts';
import type { Host } from './host.ts';
import { type Interrupts, watchInterrupts } from './interrupts.ts';
import { createOutput } from './output.ts';
import { programHelp } from './program-help.ts';
import { createProgress, progressMode } from './progress.ts';
import { exitCodeOf, reportError } from './report-error.ts';

/** Runs `heed <argv>`. Never throws: what goes wrong is written to stderr and told by the exit code. */
export async function runProgram(
  argv: readonly string[],
  commands: readonly CommandRecord[],
  host: Host,
): Promise<ExitCode> {
  const has = (flag: string): boolean => argv.includes(flag);
  const debug = has('--debug') || !['', '0', undefined].includes(host.env.HEED_DEBUG);
  const json = has('--json');
  try {
    const { record, rest } = chooseCommand(argv, commands);
    const asksHelp = rest.includes('--help') || rest.includes('-h') || argv[0] === 'help';
    if (record === undefined) {
      host.stdout.write(programHelp(commands, host.version));
      return 0;
    }
    const command = await record.load();
    const fields = describeConfig(command.config);
    if (asksHelp) {
      const colors = colorsFor(host.stdout, host.env, !has('--no-color'));
      host.stdout.write(commandHelp(record, command, fields, { colors, width: host.stdout.columns ?? 100 }));
      return 0;
    }
    return await runCommand(command, fields, parseArguments(rest, record, command, fields), host);
  } catch (error) {
    reportError(error, {
      stream: host.stderr,
      json,
      debug,
      colors: colorsFor(host.stderr, host.env, !has('--no-color')),
    });
    return exitCodeOf(error);
  }
}

async function runCommand(
  command: CommandModule,
  fields: readonly ConfigField[],
  parsed: ParsedArguments,
  host: Host,
): Promise<ExitCode> {
  const { json, quiet, color, printConfig } = parsed.common;
  const progress = createProgress({
    stream: host.stderr,
    mode: progressMode({ stream: host.stderr, env: host.env, json, quiet }),
    colors: colorsFor(host.stderr, host.env, color),
    clock: host.clock,
    every: host.every,
  });
  const output = createOutput({
    stream: host.stdout,
    json,
    colors: colorsFor(host.stdout, host.env, color),
    aside: progress.aside,
  });
  const files = await Promise.all(parsed.files.map(readConfig));
  const resolved = resolveConfig(command.config, { files, env: host.env, flags: parsed.flags });
  for (const warning of resolved.warnings) progress.note(warning, 'warning');
  const configText = formatConfig(command.config, resolved);
  if (printConfig) {
    output.text(configText.trimEnd());
    output.record({
      event: 'config',
      config: withoutSecrets(command.config, resolved.value),
      sources: Object.fromEntries(fields.map(({ key }) => [key, resolved.sources.get(key)?.text])),
    });
    return 0;
  }
  let interrupts: Interrupts | undefined;
  try {
    return await command.run(resolved.value, {
      output,
      progress,
      switches: parsed.switches,
      configText,
      env: host.env,
      version: host.version,
      clock: host.clock,
      now: host.now,
      every: host.every,
      memory: host.memory,
      interruptible: (message) => {
        interrupts ??= watchInterrupts({
          onSignal: host.onSignal,
          note: (text) => progress.note(text, 'warning'),
          message,
          exit: host.exit,
        });
        return interrupts.signal;
      },
    });
  } finally {
    progress.close();
    interrupts?.dispose();
  }
}

/** The command that the first word names, and the words after it. `train dpo` is `dpo`, `help dpo` is `dpo --help`. */
function chooseCommand(
  argv: readonly string[],
  commands: readonly CommandRecord[],
): { record: CommandRecord | undefined; rest: readonly string[] } {
  // Options of every command may also stand before it; none of them takes a value.
  const at = argv.findIndex((word) => !word.startsWith('-'));
  const word = argv[at];
  if (word === undefined) {
    const [flag] = argv.filter((other) => !['--help', '-h'].includes(other));
    if (flag === undefined) return { record: undefined, rest: [] };
    throw new ConfigError({
      where: 'heed',
      expected: 'a command first',
      received: flag,
      fix: 'See heed --help for all commands',
    });
  }
  const others = [...argv.slice(0, at), ...argv.slice(at + 1)];
  if (word === 'help')
    return others.length === 0 ? { record: undefined, rest: [] } : chooseCommand(others, commands);
  if (word !== 'train') return { record: findCommand(word, commands, 'command'), rest: others };
  const methods = commands.filter(({ trains }) => trains);
  const next = others.findIndex((other, index) => index >= at && !other.startsWith('-'));
  const method = next === at ? others[next] : undefined;
  if (method === undefined) {
    throw new ConfigError({
      where: 'heed train',
      expected: `a method (${methods.map(({ name }) => name).join(', ')})`,
      received: others[at] ?? 'nothing',
      fix: 'Name the method first, as in heed train dpo --help',
    });
  }
  return {
    record: findCommand(method, methods, 'method'),
    rest: [...others.slice(0, at), ...others.slice(at + 1)],
  };
}

function findCommand(word: string, commands: readonly CommandRecord[], noun: string): CommandRecord {
  const record = commands.find(({ name }) => name === word);
  if (record !== undefined) return record;
  const names = commands.map(({ name }) => name);
  const near = suggest(word, noun === 'command' ? [...names, 'train', 'help'] : names);
  throw new ConfigError({
    where: 'heed',
    expected: `a ${noun} (${names.join(', ')})`,
    received: word,
    fix: near === undefined ? 'See heed --help' : `Did you mean ${near}?`,
  });
}

async function readConfig(path: string): Promise<ConfigFile> {
  try {
    return { path, text: await readFile(path, 'utf8') };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new ConfigError({
      where: '--config',
      expected: 'a YAML file that can be read',
      received: `${path} (${code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a folder' : String(code)})`,
      fix: 'Check the path',
      cause: error,
    });
  }
}
