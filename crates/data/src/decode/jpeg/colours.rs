//! The colour space of a JPEG's components, and the conversion to RGB.

/// The colour space of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    /// Luminance.
    Grey,
    /// Luminance and two colour differences.
    YCbCr,
    /// Red, green, blue.
    Rgb,
    /// Inks as Adobe writes them: 255 is no ink.
    Cmyk,
    /// As CMYK, with the first three inks coded as YCbCr.
    Ycck,
}

/// Constants of JFIF, times 2^16.
const FRACTION_BITS: u32 = 16;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

const fn fixed(constant: f64) -> i32 {
    (constant * (1 << FRACTION_BITS) as f64 + 0.5) as i32
}

impl Colours {
    /// Decides as libjpeg does: by a JFIF marker, which means YCbCr, then by Adobe's marker, then by the components' ids.
    pub(super) fn of(ids: &[u8], jfif: bool, adobe: Option<u8>) -> Result<Self, String> {
        match (ids, adobe) {
            ([_], _) => Ok(Self::Grey),
            ([_, _, _], _) if jfif => Ok(Self::YCbCr),
            ([_, _, _], Some(0)) => Ok(Self::Rgb),
            ([_, _, _], Some(_)) => Ok(Self::YCbCr),
            (b"RGB", None) => Ok(Self::Rgb),
            ([_, _, _], None) => Ok(Self::YCbCr),
            (_, Some(0)) => Ok(Self::Cmyk),
            (_, Some(_)) => Ok(Self::Ycck),
            (_, None) => {
                Err("it is a CMYK JPEG without Adobe's marker, which would say how its inks are meant; \
                 convert it to RGB"
                    .to_owned())
            }
        }
    }

    /// Converts planes of equal size to RGB, pixel after pixel.
    pub(super) fn to_rgb(self, planes: &[Vec<u8>]) -> Vec<u8> {
        let [first, second, third, rest @ ..] = planes else { unreachable!("grey is no colour") };
        let threes = first.iter().zip(second).zip(third).map(|((&a, &b), &c)| [a, b, c]);
        match (self, rest) {
            (Self::Rgb, _) => threes.flatten().collect(),
            (Self::Grey | Self::YCbCr, _) => threes.flat_map(ycc_to_rgb).collect(),
            (Self::Cmyk, [black, ..]) => threes.zip(black).flat_map(|(cmy, &k)| on_black(cmy, k)).collect(),
            (Self::Ycck, [black, ..]) => {
                let inks = threes.map(|ycc| ycc_to_rgb(ycc).map(|level| 255 - level));
                inks.zip(black).flat_map(|(cmy, &k)| on_black(cmy, k)).collect()
            }
            (Self::Cmyk | Self::Ycck, []) => unreachable!("four components make these colours"),
        }
    }
}

fn ycc_to_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = (const { fixed(1.402) } * cr + HALF) >> FRACTION_BITS;
    let green = (HALF - const { fixed(0.344_14) } * cb - const { fixed(0.714_14) } * cr) >> FRACTION_BITS;
    let blue = (const { fixed(1.772) } * cb + HALF) >> FRACTION_BITS;
    [red, green, blue].map(|difference| (y + difference).clamp(0, 255) as u8)
}

/// The light that the inks transmit, rounded.
fn on_black(cmy: [u8; 3], black: u8) -> [u8; 3] {
    cmy.map(|ink| ((2 * u32::from(ink) * u32::from(black) + 255) / 510) as u8)
}
