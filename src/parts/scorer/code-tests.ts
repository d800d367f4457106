/** A verifiable reward: whether the code of a completion passes the unit tests of its row. */
import module from 'node:module';
import { z } from 'zod';
import { ConfigError, DataError } from '../../core/errors.ts';
import type { BuiltinReward } from './builtin-reward.ts';
import { runAllTests, type SandboxJob, type TestResult } from './sandbox/run-tests.ts';
import type { ScoreItem } from './scorer.ts';

const options = z.strictObject({
  tests: z
    .string()
    .default('tests')
    .describe('column with the tests: code that calls `assert`, or a list of such, each run on its own'),
  prefix: z
    .string()
    .optional()
    .describe('column with code that stands before the completion, such as the head of the function'),
  language: z
    .enum(['typescript', 'javascript'])
    .default('typescript')
    .describe(
      'typescript: types are stripped from completion, prefix and tests; needs Node 22.13, or the package esbuild',
    ),
  partial: z
    .boolean()
    .default(false)
    .describe('score the share of the tests that pass, instead of right only where all do'),
  right: z.number().default(1).describe('score where all tests pass'),
  wrong: z
    .number()
    .default(0)
    .describe('score where none passes; with partial the scores between are on a straight line'),
  seconds: z
    .number()
    .positive()
    .max(600)
    .default(5)
    .describe('CPU time that a completion may take; by the clock three times as much and 5 s'),
  megabytes: z.int().min(16).default(128).describe('memory limit of a completion'),
});

/**
 * `code-tests`: runs the code of a completion in a sandbox (`sandbox/run-tests.ts`) against the tests of its row. The code is
 * the last fenced block, or the whole completion where there is none; `prefix` stands before code that is not fenced.
 */
export const codeTests: BuiltinReward<typeof options> = {
  name: 'code-tests',
  summary: 'the code of the completion passes the unit tests of its row, in a sandbox with limits',
  options,
  build: (settings) => ({
    name: 'code-tests',
    async score(items) {
      const strip = settings.language === 'typescript' ? await typeStripper() : (code: string) => code;
      const jobs = items.map((item) => sandboxJob(item, settings, strip));
      const results = await runAllTests(jobs, settings);
      return results.map((list, index) => {
        const passed = list.filter((result) => isPass(result, items[index]!)).length;
        const share = settings.partial ? passed / list.length : Number(passed === list.length);
        return settings.wrong + (settings.right - settings.wrong) * share;
      });
    },
    dispose() {},
  }),
};

type Strip = (code: string) => string;

function sandboxJob(item: ScoreItem, { tests, prefix }: z.output<typeof options>, strip: Strip): SandboxJob {
  const { row } = item;
  const code = (column: string): readonly string[] => {
    const value = row?.columns[column];
    const list = Array.isArray(value) ? value : [value];
    if (list.length > 0 && list.every((entry) => typeof entry === 'string')) return list;
    throw wrongRow(
      item,
      `a column \`${column}\` with code, or a list of it`,
      JSON.stringify(value) ?? 'nothing',
    );
  };
  const { text, fenced } = codeOf(item.completion);
  const before = prefix === undefined || fenced ? '' : code(prefix).join('\n');
  let program: string;
  try {
    program = withoutExports(strip(before + text));
  } catch {
    // Types cannot be stripped from what does not parse; it does not run either.
    program = text;
  }
  return {
    program,
    tests: code(tests).map((test) => {
      const body = withoutAssertImport(test);
      try {
        // Top-level await is allowed: the tests become the body of an async function.
        return strip(`async function tests() {${body}\n}`)
          .replace(/^\s*async function tests\(\)\s*\{/, '')
          .replace(/\}\s*$/, '');
      } catch (cause) {
        throw wrongRow(
          item,
          `tests that parse in \`${tests}\``,
          (cause as Error).message.split('\n')[0]!,
          cause,
        );
      }
    }),
  };
}

/** The last fenced block of a text, or all of it. An open fence counts up to the end. */
export function codeOf(text: string): { readonly text: string; readonly fenced: boolean } {
  const block = [...text.matchAll(/^[ \t]*```[\w+-]*[ \t]*\n([\s\S]*?)(?:^[ \t]*```|$(?![\s\S]))/gm)].at(
    -1,
  )?.[1];
  return { text: block ?? text, fenced: block !== undefined };
}

/** Code runs as a script: `export` before a declaration means nothing there. */
const withoutExports = (code: string): string =>
  code.replace(/^(\s*)export\s+(?:default\s+)?(?=(?:async\s+)?(?:function|class|const|let|var)\b)/gm, '$1');

/** `assert` is there already. */
const withoutAssertImport = (code: string): string =>
  code
    .replace(/^\s*import\s[^;\n]*from\s*['"](?:node:)?assert(?:\/strict)?['"];?[ \t]*$/gm, '')
    .replace(
      /^\s*(?:const|let|var)\s+assert\s*=\s*require\(\s*['"](?:node:)?assert(?:\/strict)?['"]\s*\)(?:\.strict)?;?[ \t]*$/gm,
      '',
    );

function isPass(result: TestResult, item: ScoreItem): boolean {
  if (result.outcome !== 'broken') return result.outcome === 'passed';
  throw wrongRow(item, 'tests that are JavaScript with `assert` and no other import', result.message);
}

function wrongRow({ row }: ScoreItem, expected: string, received: string, cause?: unknown): DataError {
  return new DataError({
    where: `reward code-tests, ${row?.where ?? 'a completion without row'}`,
    expected,
    received: received.slice(0, 200),
    fix: 'Correct the row, or name the column under rewardOptions (code-tests: {tests: …, prefix: …})',
    ...(cause !== undefined && { cause }),
  });
}

/** What the packages are asked for. */
interface Esbuild {
  transformSync(code: string, options: { readonly loader: 'ts' }): { readonly code: string };
}
interface Rolldown {
  transformSync(
    name: string,
    code: string,
  ): { readonly code: string; readonly errors: readonly { readonly message: string }[] };
}

/** Imports a package that need not be installed; undefined where it is not. */
const optional = async (name: string): Promise<unknown> => {
  try {
    return await import(name);
  } catch {
    return undefined;
  }
};

/**
 * What strips types: Node from 22.13, else esbuild or rolldown (which Vite brings) where one is installed.
 *
 * @throws ConfigError where there is none
 */
async function typeStripper(): Promise<Strip> {
  const { stripTypeScriptTypes } = module as {
    stripTypeScriptTypes?: (code: string, options?: object) => string;
  };
  if (stripTypeScriptTypes !== undefined) return (code) => stripTypeScriptTypes(code, { mode: 'transform' });
  const esbuild = (await optional('esbuild')) as Esbuild | undefined;
  if (esbuild !== undefined) return (code) => esbuild.transformSync(code, { loader: 'ts' }).code;
  const rolldown = (await optional('rolldown/utils')) as Rolldown | undefined;
  if (rolldown !== undefined) {
    return (code) => {
      const result = rolldown.transformSync('code.ts', code);
      const [error] = result.errors;
      if (error !== undefined) throw new SyntaxError(error.message);
      return result.code;
    };
  }
  throw new ConfigError({
    where: 'reward code-tests',
    expected: 'Node 22.13 or newer, or the package esbuild, to strip types',
    received: `Node ${process.versions.node} without it`,
    fix: 'Install esbuild (npm install esbuild), or set language: javascript under rewardOptions (code-tests)',
  });
}
