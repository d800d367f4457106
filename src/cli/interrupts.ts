/** Ctrl-C: once asks to save and stop, twice stops. */

export interface InterruptOptions {
  /** Registers a handler for SIGINT and SIGTERM and returns a function that removes it. */
  readonly onSignal: (handler: () => void) => () => void;
  /** Tells the user what the first signal did. */
  readonly note: (text: string) => void;
  /** What that is; left out: that a training run stops and saves. */
  readonly message?: string | undefined;
  /** Ends the process. */
  readonly exit: (code: 130) => void;
}

export interface Interrupts {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  dispose(): void;
}

const saving = 'stopping after this step and saving; press Ctrl-C again to stop at once without saving';

/** Watches until disposed. SIGTERM counts as Ctrl-C: schedulers send it before they kill. */
export function watchInterrupts({ onSignal, note, message = saving, exit }: InterruptOptions): Interrupts {
  const controller = new AbortController();
  const dispose = onSignal(() => {
    if (controller.signal.aborted) {
      exit(130);
      return;
    }
    controller.abort();
    note(message);
  });
  return { signal: controller.signal, dispose };
}
