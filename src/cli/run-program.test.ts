import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { field, section } from '../core/config.ts';
import { DataError, EngineError, NumericError } from '../core/errors.ts';
import { type CommandContext, defineCommand } from './command.ts';
import type { CommandRecord } from './commands.ts';
import type { Host } from './host.ts';
import { runProgram } from './run-program.ts';

const folder = mkdtempSync(join(tmpdir(), 'heed-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

const config = z.strictObject({
  ...section('Data', {
    data: field(z.string(), { placeholder: 'file' }).describe('rows to read'),
    fail: field(z.enum(['data', 'number', 'engine', 'mistake', 'path', 'none']).default('none')).describe(
      'how to fail',
    ),
  }),
  ...section('Optimizer', {
    learningRate: field(z.number().positive().default(5e-5)).describe('peak step size'),
    packing: field(z.boolean().default(true)).describe('join short rows'),
  }),
  lora: z.strictObject({ rank: field(z.int().min(1).default(8)).describe('columns of A') }).prefault({}),
});

const failures: Record<string, () => Error> = {
  data: () =>
    new DataError({ where: 'rows.jsonl:3', expected: 'chosen', received: 'nothing', fix: 'Add it' }),
  number: () => new NumericError({ where: 'step 4', expected: 'a finite gradient', received: 'NaN' }),
  engine: () => new EngineError({ where: 'ort', expected: 'a library', received: 'none' }),
  mistake: () => new TypeError('x is not a function'),
  path: () => Object.assign(new Error('ENOENT: …'), { code: 'ENOENT', path: 'rows.jsonl' }),
};

const ran: { config?: z.output<typeof config> | undefined; context?: CommandContext | undefined } = {};
const command = defineCommand({
  config,
  positionals: ['data'],
  switches: { dryRun: 'only say what would be done' },
  examples: ['toy rows.jsonl'],
  async run(config, context) {
    Object.assign(ran, { config, context });
    if (config.fail !== 'none') throw failures[config.fail]!();
    context.progress.start('work').update(1);
    context.output.text('a result');
    context.output.record({ event: 'result', value: 1 });
    return 0;
  },
});
const records: CommandRecord[] = [
  { name: 'toy', summary: 'play', group: 'Train', trains: true, load: async () => command },
  { name: 'other', summary: 'do nothing', group: 'Use', load: () => Promise.reject(new Error('not needed')) },
];

async function heed(line: string, env: Record<string, string> = {}) {
  let stdout = '';
  let stderr = '';
  Object.assign(ran, { config: undefined, context: undefined });
  const host: Host = {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    env,
    version: '1.2.3',
    clock: () => 0,
    now: () => 0,
    every: () => () => {},
    memory: () => 0,
    onSignal: () => () => {},
    exit: () => {},
  };
  const code = await runProgram(line.split(' '), records, host);
  return {
    code,
    stdout,
    stderr,
    config: ran.config,
    switches: ran.context?.switches,
    text: ran.context?.configText,
  };
}

describe('arguments', () => {
  it.each([
    'toy rows --learning-rate 0.5 --no-packing --lora.rank 4',
    'toy rows --learning_rate 0.5 --packing=false --lora.rank=4',
    'toy --learningRate=0.5 rows --packing false --lora-rank 4',
    'toy --data rows --learning-rate=5e-1 --no_packing --lora_rank 4',
    'train toy rows --learning-rate 0.5 --packing=no --lora.rank 4',
    '--json toy --learning-rate 0.5 --no-packing --lora.rank 4 -- rows',
  ])('heed %s', async (line) => {
    const { code, config, stderr } = await heed(line);
    expect(stderr).not.toContain('error');
    expect(code).toBe(0);
    expect(config).toEqual({
      data: 'rows',
      fail: 'none',
      learningRate: 0.5,
      packing: false,
      lora: { rank: 4 },
    });
  });

  it('reads files, then variables, then flags', async () => {
    const file = join(folder, 'toy.yaml');
    writeFileSync(file, 'data: rows\nlearning_rate: 1\nlora:\n  rank: 2\n');
    const { config, text } = await heed(`toy -c ${file} --lora.rank 3`, {
      HEED_LEARNING_RATE: '2',
      HEED_LORA_RANK: '9',
    });
    expect(config).toMatchObject({ data: 'rows', learningRate: 2, lora: { rank: 3 } });
    expect(text).toContain(`data: rows       # ${file}:1:1`);
  });

  it('gives switches, which are no configuration', async () => {
    expect((await heed('toy rows --dry_run')).switches).toEqual(new Set(['dryRun']));
    expect((await heed('toy rows')).switches).toEqual(new Set());
  });
});

describe('bad usage ends with 2 and says what to do', () => {
  it.each([
    [
      'toy rows --lerning-rate 1',
      '--lerning-rate: expected a flag of this command, received an unknown one. Did you mean --learning-rate?',
    ],
    ['toy rows --dry-rum', 'Did you mean --dry-run?'],
    ['toy rows --jsno', 'Did you mean --json?'],
    ['toy rows --learning-rate', '--learning-rate: expected a value (number > 0), received nothing'],
    ['toy rows --learning-rate --no-packing', 'expected a value (number > 0), received --no-packing'],
    ['toy rows --learning-rate fast', '--learning-rate: expected number > 0, received "fast"'],
    ['toy rows --packing=maybe', '--packing: expected true or false, received maybe'],
    ['toy rows --fail dta', 'Did you mean data?'],
    ['toy rows more', 'heed toy: expected only <data> and flags'],
    ['toy rows -x', "unknown option '-x'"],
    ['toy', 'data: expected a value (rows to read), received nothing'],
    ['toy rows --config', '--config: expected a file, received nothing'],
    ['toy rows --config absent.yaml', 'absent.yaml (no such file)'],
    ['tyo rows', 'heed: expected a command (toy, other), received tyo. Did you mean toy?'],
    ['trian toy', 'Did you mean train?'],
    ['train', 'heed train: expected a method (toy), received nothing'],
    ['train other', 'heed: expected a method (toy), received other'],
    ['--bogus', 'expected a command first, received --bogus'],
  ])('heed %s', async (line, message) => {
    const { code, stdout, stderr, config } = await heed(line);
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect({ code, stdout, config }).toEqual({ code: 2, stdout: '', config: undefined });
  });

  it('names line and column of a key in a file', async () => {
    const file = join(folder, 'wrong.yaml');
    writeFileSync(file, 'data: rows\nlora:\n  rnak: 2\n');
    expect((await heed(`toy --config ${file}`)).stderr).toContain(`${file}:3:3`);
  });
});

describe('what a command throws', () => {
  it.each([
    ['data', 2, 'error rows.jsonl:3: expected chosen, received nothing. Add it.\n'],
    ['number', 2, 'error step 4: expected a finite gradient, received NaN.\n'],
    ['path', 2, 'error rows.jsonl: no such file or folder\n'],
    ['engine', 1, 'error ort: expected a library, received none.\n'],
    [
      'mistake',
      1,
      'error x is not a function\nThis is probably a mistake in heed. --debug shows where it happened.\n',
    ],
  ])('%s ends with %i', async (fail, expected, message) => {
    const { code, stderr } = await heed(`toy rows --fail ${fail} --quiet`);
    expect({ code, stderr }).toEqual({ code: expected, stderr: message });
  });

  it('shows the stack with --debug or HEED_DEBUG', async () => {
    expect((await heed('toy rows --fail data --debug')).stderr).toContain('run-program.test.ts');
    expect((await heed('toy rows --fail data', { HEED_DEBUG: '1' })).stderr).toContain('run-program.test.ts');
    expect((await heed('toy rows --fail data', { HEED_DEBUG: '0' })).stderr).not.toContain(
      'run-program.test.ts',
    );
  });

  it('is one JSON line with --json', async () => {
    const { code, stderr } = await heed('toy rows --fail data --json --quiet');
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toEqual({
      event: 'error',
      error: 'DataError',
      message: 'rows.jsonl:3: expected chosen, received nothing. Add it.',
      where: 'rows.jsonl:3',
      expected: 'chosen',
      received: 'nothing',
      fix: 'Add it',
    });
  });
});

describe('output', () => {
  it('puts results on stdout and progress on stderr', async () => {
    expect((await heed('toy rows --quiet')).stdout).toBe('a result\n');
    const { stdout, stderr } = await heed('toy rows --json');
    expect(JSON.parse(stdout)).toEqual({ event: 'result', value: 1 });
    // The stage that the command left open is closed for it.
    expect(
      stderr
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).event),
    ).toEqual(['start', 'stopped']);
  });

  it('--print-config prints a file that gives the same configuration, and runs nothing', async () => {
    const { code, stdout, config } = await heed('toy rows --lora.rank 4 --print-config');
    expect({ code, config }).toEqual({ code: 0, config: undefined });
    expect(stdout).toBe(
      [
        'data: rows             # <data>',
        'fail: none             # default',
        'learningRate: 0.00005  # default',
        'packing: true          # default',
        'lora:',
        '  rank: 4              # --lora.rank',
        '',
      ].join('\n'),
    );
    const file = join(folder, 'printed.yaml');
    writeFileSync(file, stdout);
    expect((await heed(`toy --config ${file}`)).config).toMatchObject({ data: 'rows', lora: { rank: 4 } });
  });

  it('warns about a variable that is nearly a key', async () => {
    expect((await heed('toy rows --quiet', { HEED_LERNING_RATE: '1' })).stderr).toBe(
      'warning HEED_LERNING_RATE is not read here; did you mean HEED_LEARNING_RATE?\n',
    );
  });

  it('generates help from the schema', async () => {
    const { code, stdout } = await heed('help toy');
    expect(code).toBe(0);
    expect((await heed('toy --help')).stdout).toBe(stdout);
    expect((await heed('train toy rows -h')).stdout).toBe(stdout);
    const lines = stdout.split('\n').map((line) => line.replace(/ +/g, ' '));
    for (const line of [
      'Usage: heed toy <data> [options]',
      'Data:',
      'Optimizer:',
      ' --data <file> rows to read (required; the flag may be left out)',
      ' --learning-rate <number> peak step size (number > 0; default 5e-5)',
      ' --[no-]packing join short rows (default on)',
      ' --lora.rank <integer> columns of A (integer ≥ 1; default 8)',
      ' --dry-run only say what would be done',
      ' heed toy rows.jsonl',
    ]) {
      expect(lines).toContain(line);
    }
    expect(stdout).not.toContain('--no-packing');
  });
});
