import { expect, it } from 'vitest';
import { watchInterrupts } from './interrupts.ts';

it('the first signal asks, the second ends, and dispose stops watching', () => {
  const handlers = new Set<() => void>();
  const events: string[] = [];
  const { signal, dispose } = watchInterrupts({
    onSignal: (handler) => {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
    note: () => events.push('note'),
    exit: (code) => events.push(`exit ${code}`),
  });
  const interrupt = (): void => {
    for (const handler of handlers) handler();
  };
  expect(signal.aborted).toBe(false);
  interrupt();
  expect({ aborted: signal.aborted, events }).toEqual({ aborted: true, events: ['note'] });
  interrupt();
  expect(events).toEqual(['note', 'exit 130']);
  dispose();
  interrupt();
  expect(events).toHaveLength(2);
});
