/** A module that does nothing with its messages: all that matter have handlers of their own. */
export default function idle(): void {}
