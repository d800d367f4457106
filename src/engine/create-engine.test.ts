import { describe, expect, it } from 'vitest';
import { EngineError } from '../core/errors.ts';
import { mul } from '../graph/ops/elementwise.ts';
import { trace } from '../graph/program.ts';
import { createEngine } from './create-engine.ts';
import { findLibrary } from './ort/library.ts';

const program = trace({ x: { dtype: 'float32', shape: [2] } }, ({ x }) => ({ y: mul(x, x) }));

describe('createEngine', () => {
  it('picks ONNX Runtime through its C API, silently', async () => {
    const messages: string[] = [];
    const engine = await createEngine({ threads: 1, log: (message) => messages.push(message) });
    expect(engine.name).toBe('ort');
    expect(messages).toEqual([]);
    engine.dispose();
  });

  it('creates each engine by name, and all compute', async () => {
    for (const name of ['ort', 'ort-node', 'interpreter'] as const) {
      const engine = await createEngine({ engine: name, threads: 1 });
      expect(engine.name).toBe(name);
      const { y } = await (await engine.compile(program)).run({ x: Float32Array.of(3, -2) });
      expect([...y!.data]).toEqual([9, 4]);
      engine.dispose();
    }
  });

  it('falls back with one message that says why', async () => {
    const messages: string[] = [];
    const engine = await createEngine({
      library: '/nowhere/libonnxruntime.so',
      log: (m) => messages.push(m),
    });
    expect(engine.name).toBe('ort-node');
    expect(messages).toHaveLength(1);
    expect(messages[0]).toMatch(/slower engine ort-node.*\/nowhere\/libonnxruntime\.so/);
    engine.dispose();
  });

  it('does not replace an engine that was named', async () => {
    const failing = createEngine({ engine: 'ort', library: '/nowhere/libonnxruntime.so' });
    await expect(failing).rejects.toThrow(EngineError);
    await expect(failing).rejects.toThrow(/\/nowhere\/libonnxruntime\.so.*Reinstall onnxruntime-node/);
  });

  it('refuses thread counts and names that mean nothing', async () => {
    for (const threads of [0, -1, 1.5, Number.NaN]) {
      await expect(createEngine({ threads })).rejects.toThrow(/positive integer/);
    }
    await expect(createEngine({ engine: 'cuda' as 'ort' })).rejects.toThrow(
      /ort, ort-node, interpreter.*cuda/,
    );
  });
});

describe('findLibrary', () => {
  it('finds a library for every platform that the package serves', () => {
    const served = ['linux x64', 'linux arm64', 'darwin arm64', 'win32 x64', 'win32 arm64'];
    const names = served.map((pair) =>
      findLibrary(...(pair.split(' ') as [string, string]))
        .split(/[\\/]/)
        .at(-1),
    );
    expect(names).toEqual([
      'libonnxruntime.so.1',
      'libonnxruntime.so.1',
      'libonnxruntime.1.dylib',
      'onnxruntime.dll',
      'onnxruntime.dll',
    ]);
  });

  it('says what to do on another platform', () => {
    expect(() => findLibrary('sunos', 'x64')).toThrow(/sunos\/x64.*use the engine "interpreter"/);
  });
});
