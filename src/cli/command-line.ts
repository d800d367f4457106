/** The flags of a command, made from its schema: parsing and help, by commander. */
import { Command, CommanderError, Option } from 'commander';
import { type ConfigField, typeText } from '../core/config.ts';
import { unknownFlag } from '../core/config-errors.ts';
import { ConfigError } from '../core/errors.ts';
import type { FlagValue } from '../core/resolve-config.ts';
import { foldName } from '../core/suggest.ts';
import type { Colors } from './colors.ts';
import type { CommandModule } from './command.ts';
import type { CommandRecord } from './commands.ts';
import { formatNumber } from './format.ts';

export interface ParsedArguments {
  /** Flags and positionals that are keys of the configuration, in order. */
  readonly flags: readonly FlagValue[];
  /** Files given by --config, in order. */
  readonly files: readonly string[];
  readonly switches: ReadonlySet<string>;
  readonly common: {
    readonly json: boolean;
    readonly quiet: boolean;
    readonly color: boolean;
    readonly printConfig: boolean;
  };
}

type Module = Pick<CommandModule, 'positionals' | 'switches' | 'examples'>;

const COMMON: readonly (readonly [flags: string, description: string])[] = [
  ['-c, --config <file>', 'YAML file with any of these keys; may be given several times, later files win'],
  ['--print-config', 'print the resolved configuration with the source of each key, and stop'],
  ['--json', 'results and progress as JSON lines'],
  ['-q, --quiet', 'no progress, only results and warnings'],
  ['--no-color', 'plain text'],
  ['--debug', 'where an error came from'],
  ['-h, --help', 'this text'],
];

/**
 * Parses the words after the command's name. Flags may be spelled `--learning-rate`, `--learning_rate` or `--learningRate`;
 * booleans take `--packing`, `--no-packing`, `--packing=false` and `--packing false`.
 *
 * @throws ConfigError for an unknown flag (with the nearest), a missing value, or a word too many.
 */
export function parseArguments(
  argv: readonly string[],
  record: Pick<CommandRecord, 'name'>,
  module: Module,
  fields: readonly ConfigField[],
): ParsedArguments {
  const flags: FlagValue[] = [];
  const files: string[] = [];
  const command = createCommander(record.name, module, fields);
  for (const item of fields) {
    command.on(`option:${optionName(item)}`, (value: string | null) => {
      flags.push({ name: item.key, value: value ?? true, shown: item.flag });
    });
    if (item.isBoolean) {
      command.on(`option:no-${optionName(item)}`, () => {
        flags.push({ name: item.key, value: false, shown: `--no-${optionName(item)}` });
      });
    }
  }
  command.on('option:config', (value: string) => files.push(value));
  const { words, unknown } = canonicalize(argv, module, fields);
  if (unknown !== undefined) throw unknownFlag(unknown, fields, otherFlags(module));
  try {
    command.parse(words, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) throw usageError(error, record.name, module);
    throw error;
  }
  const options = command.opts<Record<string, unknown>>();
  const positional = command.processedArgs.flatMap((value: unknown, at): FlagValue[] =>
    typeof value === 'string'
      ? [{ name: module.positionals![at]!, value, shown: `<${module.positionals![at]}>` }]
      : [],
  );
  return {
    flags: [...positional, ...flags],
    files,
    switches: new Set(Object.keys(module.switches ?? {}).filter((name) => options[name] === true)),
    common: {
      json: options.json === true,
      quiet: options.quiet === true,
      color: options.color !== false,
      printConfig: options.printConfig === true,
    },
  };
}

/** The text of `heed <command> --help`, from the schema. */
export function commandHelp(
  record: Pick<CommandRecord, 'name' | 'summary'>,
  module: Module,
  fields: readonly ConfigField[],
  { colors, width }: { readonly colors: Colors; readonly width: number },
): string {
  const command = createCommander(record.name, module, fields);
  const booleans = new Map(fields.filter(({ isBoolean }) => isBoolean).map((item) => [item.flag, item]));
  command.configureHelp({
    helpWidth: width,
    styleTitle: (text) => colors.bold(text),
    styleOptionTerm: (text) => colors.cyan(text),
    // Both forms of a boolean are options to commander, one line to the reader.
    optionTerm: ({ flags }) => (booleans.has(flags) ? `--[no-]${flags.slice(2)}` : flags),
  });
  const examples = (module.examples ?? []).map((example) => `  heed ${example}\n`).join('');
  return [
    `heed ${record.name}: ${record.summary}\n\n`,
    command.helpInformation().trimEnd(),
    '\n\n',
    examples === '' ? '' : `${colors.bold('Examples:')}\n${examples}\n`,
    'Each key can also be set in a YAML file (learningRate or learning_rate) or by a variable (HEED_LEARNING_RATE).\n',
    'A flag wins over a variable, a variable over a file, a file over the default.\n',
  ].join('');
}

function createCommander(name: string, module: Module, fields: readonly ConfigField[]): Command {
  const command = new Command(`heed ${name}`)
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {} })
    .helpOption(false)
    .showSuggestionAfterError(false)
    .usage(`${(module.positionals ?? []).map((key) => `<${key}> `).join('')}[options]`);
  for (const key of module.positionals ?? []) command.argument(`[${key}]`);
  const positionals = new Set(module.positionals);
  // Required keys first: they are what a reader has to find.
  const groups = [...new Set(fields.map(({ group }) => group))];
  for (const group of groups) {
    for (const item of fields.filter((other) => other.group === group)) {
      const description = describeField(item, positionals.has(item.key));
      const value = item.isBoolean ? '' : ` <${item.placeholder}>`;
      command.addOption(new Option(`${item.flag}${value}`, description).helpGroup(`${group}:`));
      if (item.isBoolean) command.addOption(new Option(`--no-${optionName(item)}`).hideHelp());
    }
  }
  for (const [key, description] of Object.entries(module.switches ?? {})) {
    command.addOption(new Option(`--${kebab(key)}`, description).helpGroup('This run:'));
  }
  for (const [flags, description] of COMMON) {
    command.addOption(new Option(flags, description).helpGroup('Of every command:'));
  }
  return command;
}

/** `peak step size of AdamW (number > 0; default 5e-5)` */
function describeField(item: ConfigField, positional: boolean): string {
  const facts: string[] = [];
  const type = typeText(item.schema);
  // The placeholder already says `number` or `text`.
  if (!item.isBoolean && type !== item.placeholder && !/^(list of )?text( \| text)?$/.test(type))
    facts.push(type);
  if (item.required) facts.push(positional ? 'required; the flag may be left out' : 'required');
  else if (item.default !== undefined) facts.push(`default ${describeDefault(item.default)}`);
  return [item.description, facts.length === 0 ? '' : `(${facts.join('; ')})`].join(' ').trim();
}

function describeDefault(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'number') return formatNumber(value).replaceAll(',', '');
  if (value === null) return 'none';
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.join(',');
  return typeof value === 'string' ? value || 'none' : JSON.stringify(value);
}

/**
 * Rewrites every spelling of a flag to the one that commander was told, joins values to their flags, and turns
 * `--packing false` into `--no-packing`.
 */
function canonicalize(
  argv: readonly string[],
  module: Module,
  fields: readonly ConfigField[],
): { words: string[]; unknown: string | undefined } {
  const byName = new Map<string, ConfigField>();
  for (const item of fields) {
    for (const name of [item.key, ...item.aliases]) byName.set(foldFlag(name), item);
  }
  const others = new Map(otherFlags(module).map((flag) => [foldFlag(flag), flag]));
  const isFlag = (word: string | undefined): boolean => {
    const name = foldFlag(word?.split('=')[0] ?? '');
    const negated = name.startsWith('no') && byName.get(name.slice(2))?.isBoolean === true;
    return word?.startsWith('--') === true && (byName.has(name) || others.has(name) || negated);
  };
  const words: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (word === '--') {
      words.push(...argv.slice(at));
      break;
    }
    if (!word.startsWith('--')) {
      words.push(word);
      if (word === '-c' && at + 1 < argv.length) words.push(argv[++at]!);
      continue;
    }
    const equals = word.indexOf('=');
    const flag = equals < 0 ? word : word.slice(0, equals);
    const inline = equals < 0 ? undefined : word.slice(equals + 1);
    const next = argv[at + 1];
    const name = foldFlag(flag);
    const item = byName.get(name);
    const negated = name.startsWith('no') ? byName.get(name.slice(2)) : undefined;
    if (item?.isBoolean === true) {
      const value = inline ?? (/^(true|false)$/i.test(next ?? '') ? argv[++at]! : 'true');
      if (!/^(true|false|yes|no|on|off|1|0)$/i.test(value)) throw missingValue(flag, 'true or false', value);
      words.push(/^(true|yes|on|1)$/i.test(value) ? item.flag : `--no-${optionName(item)}`);
    } else if (item !== undefined) {
      if (inline === undefined && (next === undefined || isFlag(next))) {
        throw missingValue(item.flag, `a value (${item.type})`, next ?? 'nothing');
      }
      words.push(`${item.flag}=${inline ?? argv[++at]!}`);
    } else if (negated?.isBoolean === true && inline === undefined) {
      words.push(`--no-${optionName(negated)}`);
    } else if (others.has(name)) {
      const known = others.get(name)!;
      if (known === '--config' && inline === undefined) {
        if (next === undefined || isFlag(next)) throw missingValue(known, 'a file', next ?? 'nothing');
        words.push(`${known}=${argv[++at]!}`);
      } else words.push(inline === undefined ? known : `${known}=${inline}`);
    } else return { words, unknown: flag };
  }
  return { words, unknown: undefined };
}

function missingValue(where: string, expected: string, received: string): ConfigError {
  return new ConfigError({ where, expected, received, fix: `Write ${where}=<value> or ${where} <value>` });
}

/** Flags that are not keys of the configuration. */
function otherFlags(module: Module): string[] {
  const common = COMMON.map(([flags]) => /--[a-z-]+/.exec(flags)![0]);
  return [...common, ...Object.keys(module.switches ?? {}).map((key) => `--${kebab(key)}`)];
}

function usageError(error: CommanderError, name: string, module: Module): ConfigError {
  const received = error.message.replace(/^error: /, '').replace(/\.$/, '');
  const positionals = module.positionals ?? [];
  return new ConfigError({
    where: `heed ${name}`,
    expected:
      error.code === 'commander.excessArguments'
        ? positionals.length === 0
          ? 'only flags'
          : `only ${positionals.map((key) => `<${key}>`).join(' ')} and flags`
        : 'a flag of this command',
    received,
    fix: `See heed ${name} --help`,
    cause: error,
  });
}

/** What commander calls an option: `learning-rate`, `lora.rank`. */
function optionName(item: ConfigField): string {
  return item.flag.slice(2);
}

function foldFlag(flag: string): string {
  return foldName(flag.replaceAll('.', ''));
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
