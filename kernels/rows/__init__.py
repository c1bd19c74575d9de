"""Operations on elements and rows, without a matrix product."""
