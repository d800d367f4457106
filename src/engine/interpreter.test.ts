import { expect, it } from 'vitest';
import { engineContract } from '../../test/contracts/engine.ts';
import { exp } from '../graph/ops/elementwise.ts';
import { trace } from '../graph/program.ts';
import { createInterpreter } from './interpreter.ts';

engineContract('interpreter', createInterpreter, {
  exceptions: {
    'fresh outputs have the program’s dtype': 'fresh float32 outputs are Float64Array, to keep all digits',
    'refuses Float64Array for float32': 'it takes float64 numbers, which is what it is for',
    'leaves the event loop free during run': 'it is plain JavaScript on the calling thread',
    'refuses a second run of a binding in flight': 'a run has ended when run() returns',
    'finishes a run whose executable is disposed': 'a run has ended when run() returns',
    'refuses memory that was transferred': 'it reads arrays like any JavaScript: a transferred one is empty',
    'measures microseconds': 'it counts calls; its times would say nothing about other engines',
  },
});

it('computes float32 tensors in float64', async () => {
  const program = trace({ x: { dtype: 'float32', shape: [1] } }, ({ x }) => ({ y: exp(x) }));
  const executable = await createInterpreter().compile(program);
  const { y } = await executable.run({ x: Float64Array.of(1) });
  expect(y!.data).toEqual(Float64Array.of(Math.E));
});
