// What this device says of itself in `hello`.

/** {memory?, cores?, mobile?, network?, save_data?}: only what the browser tells anybody. */
export function describeDevice() {
  const { deviceMemory, hardwareConcurrency, userAgentData, connection } = navigator;
  const said = {
    memory: deviceMemory,
    cores: hardwareConcurrency,
    mobile: userAgentData?.mobile ?? /Mobi|Android|iPhone|iPad/u.test(navigator.userAgent),
    network: connection?.effectiveType,
    save_data: connection?.saveData,
  };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined && value !== null));
}
