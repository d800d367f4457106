import { describe, expect, it } from 'vitest';
import { checkImports, importedBy } from '../../scripts/check-imports.mjs';

const packages = new Set(['zod', '@bufbuild/protobuf']);
const check = (files: Record<string, string>) => checkImports(files, packages);

describe('checkImports', () => {
  it('accepts arrows that point down, packages, built-ins and tests that import anything', () => {
    expect(
      check({
        'src/core/errors.ts': '',
        'src/graph/tensor.ts': "import type { Shape } from '../core/errors.ts';",
        'src/onnx/model.ts': "import { create } from '@bufbuild/protobuf/wkt';\nimport '../graph/tensor.ts';",
        'src/engine/ort/ffi.ts':
          "import { readFile } from 'node:fs/promises';\nimport '../../onnx/model.ts';",
        'src/optim/adam.ts': "import '../engine/ort/ffi.ts'; import '../nn/linear.ts';",
        'src/nn/linear.ts': "import '../engine/ort/ffi.ts';",
        'src/generate/sample.ts': "import '../models/llama.ts';",
        'src/models/llama.ts': "import '../nn/linear.ts';",
        'src/methods/index.ts': "export { dpo } from './preference/dpo.ts';",
        'src/methods/preference/dpo.ts': "import { z } from 'zod';\nimport '../define-method.ts';",
        'src/methods/define-method.ts': '',
        'src/cli/main.ts': "const { sft } = await import('../methods/index.ts');",
        'src/index.ts': "export * from './cli/main.ts';",
        'src/core/errors.test.ts':
          "import '../cli/main.ts'; import 'vitest'; import '../../test/support/x.ts';",
      }),
    ).toEqual([]);
  });

  it('reports an arrow that points up, also for a type', () => {
    expect(
      check({ 'src/core/a.ts': "import type { T } from '../graph/b.ts';", 'src/graph/b.ts': '' }),
    ).toEqual([
      'src/core/a.ts: core imports graph (src/graph/b.ts), but imports point down: cli, serve → methods → ' +
        'parts, guard, eval, world, report → models, generate, data, tokenizer, optim → nn → engine → onnx → graph → core',
    ]);
    expect(check({ 'src/onnx/a.ts': "import '../engine/b.ts';", 'src/engine/b.ts': '' })).toHaveLength(1);
    expect(check({ 'src/parts/a.ts': "export * from '../methods/index.ts';" })).toHaveLength(1);
    expect(check({ 'src/graph/a.ts': "import('../index.ts')" })).toHaveLength(1);
  });

  it('reports a method that imports a method, in any family', () => {
    const method = 'src/methods/preference/dpo.ts';
    for (const specifier of ['./ipo.ts', '../supervised/sft.ts']) {
      const problems = check({ [method]: `import { loss } from '${specifier}';` });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(
        /^src\/methods\/preference\/dpo\.ts: imports the method src\/methods\/.*src\/parts\/$/,
      );
    }
  });

  it('reports tests, foreign folders, packages not listed, and folders without a level', () => {
    expect(check({ 'src/nn/a.ts': "import './b.test.ts';" })).toEqual([
      'src/nn/a.ts: imports src/nn/b.test.ts; src never imports tests',
    ]);
    expect(check({ 'src/nn/a.ts': "import '../../test/support/x.ts';" })).toEqual([
      'src/nn/a.ts: imports test/support/x.ts; src imports only src',
    ]);
    expect(check({ 'src/nn/a.ts': "import fc from 'fast-check'; import '@scope/name/deep';" })).toEqual([
      'src/nn/a.ts: imports fast-check, which is not in "dependencies"',
      'src/nn/a.ts: imports @scope/name, which is not in "dependencies"',
    ]);
    expect(check({ 'src/misc/a.ts': '' })).toEqual([
      'src/misc/a.ts: src/misc has no level; add it to LEVELS in scripts/check-imports.mjs',
    ]);
  });

  it('lets folders of one level import in one direction only', () => {
    const files = { 'src/data/a.ts': "import '../tokenizer/b.ts';", 'src/tokenizer/b.ts': '' };
    expect(check(files)).toEqual([]);
    expect(check({ ...files, 'src/tokenizer/c.ts': "import '../data/d.ts';", 'src/data/d.ts': '' })).toEqual([
      'src/tokenizer/c.ts: tokenizer imports data, and data imports tokenizer in src/data/a.ts; choose one direction',
    ]);
  });

  it('reports one circle of files, as a path', () => {
    expect(
      check({
        'src/nn/a.ts': "import './b.ts';",
        'src/nn/b.ts': "import './c.ts'; import './d.ts';",
        'src/nn/c.ts': '',
        'src/nn/d.ts': "import './b.ts';",
      }),
    ).toEqual(['files import each other in a circle: src/nn/b.ts → src/nn/d.ts → src/nn/b.ts']);
  });
});

describe('circles', () => {
  it('of types vanish when compiled; operations refer to each other', () => {
    const back = "import type { T } from './b.ts';";
    expect(check({ 'src/nn/a.ts': back, 'src/nn/b.ts': "import './a.ts';" })).toEqual([]);
    expect(
      check({ 'src/nn/a.ts': back.replace('type ', ''), 'src/nn/b.ts': "import './a.ts';" }),
    ).toHaveLength(1);
    const ops = { 'src/graph/ops/a.ts': "import './b.ts';", 'src/graph/ops/b.ts': "import './a.ts';" };
    expect(check(ops)).toEqual([]);
    const around = {
      ...ops,
      'src/graph/c.ts': "import './ops/a.ts';",
      'src/graph/ops/b.ts': "import '../c.ts';",
    };
    expect(check(around)).toHaveLength(1);
  });
});

describe('importedBy', () => {
  it('tells types from values', () => {
    const kinds = (text: string) => importedBy(text).map(({ typeOnly }) => typeOnly);
    expect(kinds("import type { A } from './a.ts'; export type * from './a.ts';")).toEqual([true, true]);
    expect(kinds("import { type A } from './a.ts'; import { a, type B } from './a.ts';")).toEqual([
      false,
      false,
    ]);
  });

  it('finds every form and steps over comments and strings', () => {
    const text = `
      // import './no-1.ts';
      /* import './no-2.ts'; */
      import a, { type B } from './1.ts';
      import {
        c, // import './no-3.ts'
      } from "./2.ts";
      import * as d from './3.ts';
      import './4.ts';
      export * from './5.ts';
      export { e as f } from './6.ts';
      const g = await import('./7.ts');
      const h = "import './no-4.ts'";
      const i = \`import './no-5.ts'\`;
      const j = 'https://example.org'; import './8.ts';
      export const k = './no-6.ts';
      export type { l } from './9.ts';
      export function from(important: string) { return important + './no-7.ts'; }
    `;
    expect(importedBy(text).map(({ specifier }) => specifier)).toEqual([
      './1.ts',
      './2.ts',
      './3.ts',
      './4.ts',
      './5.ts',
      './6.ts',
      './7.ts',
      './8.ts',
      './9.ts',
    ]);
  });
});
