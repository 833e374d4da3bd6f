/** Wraps `work` so that however often it is asked for, it runs once, in the next animation frame. */
export function perFrame(work) {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      work();
    });
  };
}
