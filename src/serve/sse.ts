/** Server-sent events: JSON records, ended by `[DONE]`. */

export interface EventSink {
  send(record: unknown): void;
  /** Ends with `[DONE]`. */
  end(): void;
  /** Ends with an error record and no `[DONE]`. */
  fail(record: unknown): void;
  /** Whether the reader has gone. */
  readonly closed: boolean;
}

/** Milliseconds between two pieces of a stream at least: nobody reads faster, and every piece costs a write. */
const restMs = 20;

/**
 * A response that streams what `write` sends. Events wait until the reader asks: a slow reader costs the memory of its own
 * completion, which its token limit bounds, and holds up nobody; what waits goes out in one piece. The first event and the end
 * go out at once.
 *
 * @param onCancel called once when the reader goes away before the end
 */
export function eventStream(
  headers: Readonly<Record<string, string>>,
  onCancel: () => void,
): { readonly response: Response; readonly sink: EventSink } {
  const encoder = new TextEncoder();
  let waiting = '';
  let ended = false;
  let closed = false;
  let resting = false;
  let wake: (() => void) | undefined;
  const add = (text: string): void => {
    if (closed || ended) return;
    waiting += text;
    wake?.();
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        while ((waiting === '' || resting) && !ended && !closed) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        wake = undefined;
        if (closed) return;
        if (waiting !== '') {
          controller.enqueue(encoder.encode(waiting));
          waiting = '';
          resting = true;
          setTimeout(() => {
            resting = false;
            if (waiting !== '') wake?.();
          }, restMs);
        }
        if (ended) controller.close();
      },
      cancel() {
        if (closed) return;
        closed = true;
        waiting = '';
        wake?.();
        if (!ended) onCancel();
      },
    },
    { highWaterMark: 0 },
  );
  const response = new Response(stream, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      ...headers,
    },
  });
  const finish = (text: string): void => {
    add(text);
    ended = true;
    wake?.();
  };
  return {
    response,
    sink: {
      send: (record) => add(`data: ${JSON.stringify(record)}\n\n`),
      end: () => finish('data: [DONE]\n\n'),
      fail: (record) => finish(`data: ${JSON.stringify(record)}\n\n`),
      get closed() {
        return closed;
      },
    },
  };
}
