import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { eventStream } from './sse.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout'] }));
afterEach(() => void vi.useRealTimers());

describe('eventStream', () => {
  it('sends the first event at once, those that follow within 20 ms together, and the end at once', async () => {
    const { response, sink } = eventStream({}, () => {});
    const reader = response.body!.getReader();
    const next = async (): Promise<string> => new TextDecoder().decode((await reader.read()).value);
    sink.send(1);
    expect(await next()).toBe('data: 1\n\n');

    let read = false;
    const second = next().finally(() => {
      read = true;
    });
    sink.send(2);
    await vi.advanceTimersByTimeAsync(19);
    sink.send(3);
    expect(read).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await second).toBe('data: 2\n\ndata: 3\n\n');

    sink.send(4);
    sink.end();
    expect(await next()).toBe('data: 4\n\ndata: [DONE]\n\n');
    expect((await reader.read()).done).toBe(true);
  });

  it('sends an event that comes after a rest at once', async () => {
    const { response, sink } = eventStream({}, () => {});
    const reader = response.body!.getReader();
    sink.send(1);
    await reader.read();
    await vi.advanceTimersByTimeAsync(20);
    sink.send(2);
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('data: 2\n\n');
  });
});
